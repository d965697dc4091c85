// Segments the object at one point of a photo: a pair of `mobilesam export`, run in ONNX Runtime on Android.
//
// The graphs normalise and pad. What remains for a client is below: resize the photo, scale the point, end the prompt
// in a padding point, scale the logits up to the photo, and threshold them.

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import android.graphics.Bitmap
import java.nio.FloatBuffer
import kotlin.math.abs
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min

/** One channel, row by row. */
class Plane(val width: Int, val height: Int, val values: FloatArray)

/** An encoded photo: made once, then asked for the object at any number of taps. */
class EncodedPhoto(
    val embedding: OnnxTensor, val photoWidth: Int, val photoHeight: Int, val width: Int, val height: Int,
)

/**
 * A loaded model. Its calls take tens of milliseconds or more: not on the main thread.
 *
 * @param encoder the bytes of encoder.onnx or encoder.ort, for example from the app's assets.
 * @param decoder the bytes of decoder.onnx or decoder.ort.
 */
class Segmenter(encoder: ByteArray, decoder: ByteArray) : AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment()
    private val encoderSession: OrtSession = environment.createSession(encoder)
    private val decoderSession: OrtSession = environment.createSession(decoder)

    /** Of the padded square, in pixels. */
    private val side = encoderSession.metadata.customMetadata.getValue("image_size").toInt()

    /** Encodes an upright photo: its long side becomes the model's, the pixels stay 0 to 255. */
    fun encode(photo: Bitmap): EncodedPhoto {
        val scale = side.toDouble() / max(photo.width, photo.height)
        val w = max(1, (photo.width * scale + 0.5).toInt())
        val h = max(1, (photo.height * scale + 0.5).toInt())
        val pixels = IntArray(photo.width * photo.height)
        photo.getPixels(pixels, 0, photo.width, 0, 0, photo.width, photo.height)
        val image = FloatArray(3 * w * h) // (1, 3, h, w): red, green, blue
        for ((i, shift) in listOf(16, 8, 0).withIndex()) {
            val channel = FloatArray(pixels.size) { ((pixels[it] shr shift) and 255).toFloat() }
            resize(Plane(photo.width, photo.height, channel), w, h, isPhoto = true).values.copyInto(image, i * w * h)
        }
        tensor(image, 1, 3, h.toLong(), w.toLong()).use { input ->
            encoderSession.run(mapOf("image" to input)).use { answer ->
                val embedding = answer[0] as OnnxTensor
                val copy = tensor(floats(embedding), *embedding.info.shape) // the answer's own goes with it
                return EncodedPhoto(copy, photo.width, photo.height, w, h)
            }
        }
    }

    /** The mask of the most likely object at a point in pixels of the photo: its pixels, true for object. */
    fun segment(photo: EncodedPhoto, x: Float, y: Float): BooleanArray {
        val low = side / 4
        // The point in pixels of the resized photo, and the padding that ends a prompt without a box.
        val coords = floatArrayOf(x * photo.width / photo.photoWidth, y * photo.height / photo.photoHeight, 0f, 0f)
        val inputs = mapOf(
            "embedding" to photo.embedding,
            "point_coords" to tensor(coords, 1, 2, 2),
            "point_labels" to tensor(floatArrayOf(1f, -1f), 1, 2),
            "mask_input" to tensor(FloatArray(low * low), 1, 1, low.toLong(), low.toLong()),
            "has_mask_input" to tensor(floatArrayOf(0f), 1),
            "min_score" to tensor(floatArrayOf(Float.NEGATIVE_INFINITY)),
        )
        try {
            decoderSession.run(inputs).use { answer ->
                val logits = floats(answer["low_res_masks"].get() as OnnxTensor)
                val scores = floats(answer["iou_predictions"].get() as OnnxTensor)
                // Masks 1 to 3 are the answers to one point, an object and its parts: the one with the best score.
                val best = (1..3).maxByOrNull { scores[it] } ?: 1
                val mask = Plane(low, low, logits.copyOfRange(best * low * low, (best + 1) * low * low))
                val square = resize(mask, side, side, isPhoto = false)
                val inside = crop(square, photo.width, photo.height)
                val upscaled = resize(inside, photo.photoWidth, photo.photoHeight, isPhoto = false)
                return BooleanArray(upscaled.values.size) { upscaled.values[it] > 0 }
            }
        } finally {
            for ((name, input) in inputs) if (name != "embedding") input.close()
        }
    }

    private fun tensor(values: FloatArray, vararg shape: Long): OnnxTensor =
        OnnxTensor.createTensor(environment, FloatBuffer.wrap(values), shape)

    private fun floats(tensor: OnnxTensor): FloatArray =
        tensor.floatBuffer.let { buffer -> FloatArray(buffer.remaining()).also { buffer.get(it) } }

    override fun close() {
        encoderSession.close()
        decoderSession.close()
    }
}

fun resize(plane: Plane, width: Int, height: Int, isPhoto: Boolean): Plane =
    resizeAndTurn(resizeAndTurn(plane, width, isPhoto), height, isPhoto)

/**
 * Bilinear along rows, then transposed: twice gives both axes. Photos are resized exactly as Pillow does it: shrinking
 * averages over all pixels that an output pixel covers, weights have 22 bits, values are rounded. Logits are
 * interpolated between neighbours only.
 */
private fun resizeAndTurn(plane: Plane, width: Int, isPhoto: Boolean): Plane {
    val scale = plane.width.toDouble() / width
    val reach = if (isPhoto) max(scale, 1.0) else 1.0
    val bits = (1 shl 22).toDouble()
    val turned = FloatArray(plane.height * width)
    for (x in 0 until width) {
        val centre = (x + 0.5) * scale
        val first = max(0, (centre - reach + 0.5).toInt())
        val last = min(plane.width, (centre + reach + 0.5).toInt())
        val weights = DoubleArray(last - first) { max(0.0, 1 - abs(first + it + 0.5 - centre) / reach) }
        val sum = weights.sum()
        for (i in weights.indices) weights[i] = floor(weights[i] / sum * bits + 0.5) / bits
        for (y in 0 until plane.height) {
            var value = 0.0
            for (i in weights.indices) value += weights[i] * plane.values[y * plane.width + first + i]
            turned[x * plane.height + y] = (if (isPhoto) floor(value + 0.5) else value).toFloat()
        }
    }
    return Plane(plane.height, width, turned)
}

private fun crop(plane: Plane, width: Int, height: Int): Plane =
    Plane(width, height, FloatArray(width * height) { plane.values[it / width * plane.width + it % width] })
