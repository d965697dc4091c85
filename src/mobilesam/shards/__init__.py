"""Jobs over data sets of any size, in shards: the plan, the workers, the state and the report of a run.

Two jobs have this shape: masks (`mobilesam.annotate`) and a teacher's embeddings (`mobilesam.distill`). Each brings a
function that writes one shard; everything else is here.
"""
