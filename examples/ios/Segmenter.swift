// Segments the object at one point of a photo: the two files of `mobilesam export --format coreml`, run in Core ML.
//
// The graphs normalise, ignore what lies outside of the photo, and pad the prompt. What remains for a client is below:
// resize the photo into the square, scale the point, scale the logits up to the photo, and threshold them.

import CoreGraphics
import CoreML
import CoreVideo
import Foundation

/// One channel, row by row.
struct Plane { var width: Int, height: Int, values: [Float] }

/// An encoded photo: made once, then asked for the object at any number of taps.
struct EncodedPhoto {
    let embedding: MLFeatureValue
    let photoWidth: Int, photoHeight: Int, width: Int, height: Int
}

enum SegmenterError: Error { case notAModelOfMobilesam, noPixels }

/// A loaded model. Its calls take tens of milliseconds or more: not on the main thread.
final class Segmenter {
    static let points = 5  // of each prompt; those with label -1 take no part
    private let encoder: MLModel, decoder: MLModel
    private let side: Int  // of the padded square, in pixels

    /// The URLs are of the compiled models (.mlmodelc), which Xcode makes of encoder.mlpackage and decoder.mlpackage.
    init(encoder: URL, decoder: URL) throws {
        self.encoder = try MLModel(contentsOf: encoder)
        self.decoder = try MLModel(contentsOf: decoder)
        let image = self.encoder.modelDescription.inputDescriptionsByName["image"]
        guard let pixels = image?.imageConstraint?.pixelsWide else { throw SegmenterError.notAModelOfMobilesam }
        side = pixels
    }

    /// Encodes an upright photo: its long side becomes the model's, the pixels stay 0 to 255.
    func encode(_ photo: CGImage) throws -> EncodedPhoto {
        let scale = Double(side) / Double(max(photo.width, photo.height))
        let w = max(1, Int(Double(photo.width) * scale + 0.5)), h = max(1, Int(Double(photo.height) * scale + 0.5))
        let resized = try channels(of: photo).map { resize($0, w, h, isPhoto: true) }
        let answer = try run(encoder, [
            "image": picture(resized, side: side),
            "input_hw": tensor([Float(h), Float(w)], [2]),
        ])
        guard let embedding = answer.featureValue(for: "embedding") else { throw SegmenterError.notAModelOfMobilesam }
        return EncodedPhoto(
            embedding: embedding, photoWidth: photo.width, photoHeight: photo.height, width: w, height: h)
    }

    /// The mask of the most likely object at a point in pixels of the photo: its pixels, true for object.
    func segment(_ photo: EncodedPhoto, x: Float, y: Float) throws -> [Bool] {
        let low = side / 4
        var coords = [Float](repeating: 0, count: 2 * Segmenter.points)
        var labels = [Float](repeating: -1, count: Segmenter.points)
        coords[0] = x * Float(photo.width) / Float(photo.photoWidth)  // in pixels of the resized photo
        coords[1] = y * Float(photo.height) / Float(photo.photoHeight)
        labels[0] = 1
        let answer = try run(decoder, [
            "embedding": photo.embedding,
            "point_coords": tensor(coords, [1, Segmenter.points, 2]),
            "point_labels": tensor(labels, [1, Segmenter.points]),
            "mask_input": tensor([Float](repeating: 0, count: low * low), [1, 1, low, low]),
            "has_mask_input": tensor([0], [1]),
        ])
        guard let logits = answer.featureValue(for: "low_res_masks")?.shapedArrayValue(of: Float.self)?.scalars,
            let scores = answer.featureValue(for: "iou_predictions")?.shapedArrayValue(of: Float.self)?.scalars
        else { throw SegmenterError.notAModelOfMobilesam }
        // Masks 1 to 3 are the answers to one point, an object and its parts: the one with the best score.
        let best = (1...3).max { scores[$0] < scores[$1] }!
        let mask = Plane(width: low, height: low, values: Array(logits[best * low * low..<(best + 1) * low * low]))
        let inside = crop(resize(mask, side, side, isPhoto: false), photo.width, photo.height)
        return resize(inside, photo.photoWidth, photo.photoHeight, isPhoto: false).values.map { $0 > 0 }
    }

    private func tensor(_ values: [Float], _ shape: [Int]) -> MLFeatureValue {
        MLFeatureValue(shapedArray: MLShapedArray<Float>(scalars: values, shape: shape))
    }

    private func run(_ model: MLModel, _ inputs: [String: MLFeatureValue]) throws -> MLFeatureProvider {
        try model.prediction(from: MLDictionaryFeatureProvider(dictionary: inputs))
    }
}

/// Red, green and blue of a photo, 0 to 255.
func channels(of photo: CGImage) throws -> [Plane] {
    let w = photo.width, h = photo.height
    var bytes = [UInt8](repeating: 255, count: 4 * w * h)
    let isDrawn = bytes.withUnsafeMutableBytes { buffer -> Bool in
        let context = CGContext(
            data: buffer.baseAddress, width: w, height: h, bitsPerComponent: 8, bytesPerRow: 4 * w,
            space: CGColorSpace(name: CGColorSpace.sRGB)!, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
        context?.draw(photo, in: CGRect(x: 0, y: 0, width: w, height: h))
        return context != nil
    }
    guard isDrawn else { throw SegmenterError.noPixels }
    return (0..<3).map { c in Plane(width: w, height: h, values: (0..<w * h).map { Float(bytes[4 * $0 + c]) }) }
}

func resize(_ plane: Plane, _ width: Int, _ height: Int, isPhoto: Bool) -> Plane {
    resizeAndTurn(resizeAndTurn(plane, width, isPhoto: isPhoto), height, isPhoto: isPhoto)
}

/// Bilinear along rows, then transposed: twice gives both axes. Photos are resized exactly as Pillow does it: shrinking
/// averages over all pixels that an output pixel covers, weights have 22 bits, values are rounded. Logits are
/// interpolated between neighbours only.
private func resizeAndTurn(_ plane: Plane, _ width: Int, isPhoto: Bool) -> Plane {
    let scale = Double(plane.width) / Double(width), reach = isPhoto ? max(scale, 1) : 1, bits = Double(1 << 22)
    var turned = Plane(
        width: plane.height, height: width, values: [Float](repeating: 0, count: plane.height * width))
    for x in 0..<width {
        let centre = (Double(x) + 0.5) * scale
        let first = max(0, Int(centre - reach + 0.5)), last = min(plane.width, Int(centre + reach + 0.5))
        var weights = (first..<last).map { max(0, 1 - abs(Double($0) + 0.5 - centre) / reach) }
        let sum = weights.reduce(0, +)
        weights = weights.map { ($0 / sum * bits + 0.5).rounded(.down) / bits }
        for y in 0..<plane.height {
            var value = 0.0
            for (i, weight) in weights.enumerated() {
                value += weight * Double(plane.values[y * plane.width + first + i])
            }
            turned.values[x * plane.height + y] = Float(isPhoto ? (value + 0.5).rounded(.down) : value)
        }
    }
    return turned
}

private func crop(_ plane: Plane, _ width: Int, _ height: Int) -> Plane {
    let rows = (0..<height).map { plane.values[$0 * plane.width..<$0 * plane.width + width] }
    return Plane(width: width, height: height, values: Array(rows.joined()))
}

/// A square picture with a photo's red, green and blue in its top left corner; what lies outside does not matter.
private func picture(_ planes: [Plane], side: Int) throws -> MLFeatureValue {
    var made: CVPixelBuffer?
    CVPixelBufferCreate(nil, side, side, kCVPixelFormatType_32BGRA, nil, &made)
    guard let buffer = made, CVPixelBufferLockBaseAddress(buffer, []) == kCVReturnSuccess else {
        throw SegmenterError.noPixels
    }
    defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
    let row = CVPixelBufferGetBytesPerRow(buffer)
    let bytes = CVPixelBufferGetBaseAddress(buffer)!.assumingMemoryBound(to: UInt8.self)
    for (c, plane) in planes.enumerated() {
        for i in plane.values.indices {  // blue, green, red, unused
            bytes[i / plane.width * row + i % plane.width * 4 + 2 - c] = UInt8(plane.values[i])
        }
    }
    return MLFeatureValue(pixelBuffer: buffer)
}
