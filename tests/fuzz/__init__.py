"""Seeded fuzzing of everything that reads a file or takes a prompt; `scripts/fuzz` runs it.

kinds.py    the table: what is fuzzed
seeds.py    valid files to start from
known.py     inputs that once failed
mutate.py   changes to bytes, JSON and zip archives
targets/    what is done with each input, and what a right answer is
pool.py     worker processes with limits of time and memory
command.py  the command line
"""
