// Segments the object at one point of a photo: a pair of `mobilesam export`, run in ONNX Runtime.
//
//     segment MODEL_FOLDER photo.ppm X Y mask.pgm
//
// The graphs normalise and pad. What remains for a client is below: resize the photo, scale the point, end the prompt
// in a padding point, scale the logits up to the photo, and threshold them.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using Shape = std::vector<int64_t>;

struct Plane {  // one channel
  int width = 0, height = 0;
  std::vector<float> values;  // row by row
};

// Bilinear along rows, then transposed: twice gives both axes. Photos are resized exactly as Pillow does it: shrinking
// averages over all pixels that an output pixel covers, weights have 22 bits, values are rounded. Logits are
// interpolated between neighbours only.
Plane resize_and_turn(const Plane& in, int width, bool is_photo) {
  const double scale = double(in.width) / width, reach = is_photo ? std::max(scale, 1.0) : 1.0, bits = 1 << 22;
  Plane out{in.height, width, std::vector<float>(size_t(in.height) * width)};
  for (int x = 0; x < width; ++x) {
    const double centre = (x + 0.5) * scale;
    const int first = std::max(0, int(centre - reach + 0.5)), last = std::min(in.width, int(centre + reach + 0.5));
    std::vector<double> weights;
    for (int i = first; i < last; ++i) weights.push_back(std::max(0.0, 1 - std::abs(i + 0.5 - centre) / reach));
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (double& weight : weights) weight = std::floor(weight / sum * bits + 0.5) / bits;
    for (int y = 0; y < in.height; ++y) {
      double value = 0;
      for (int i = first; i < last; ++i) value += weights[i - first] * in.values[size_t(y) * in.width + i];
      out.values[size_t(x) * in.height + y] = float(is_photo ? std::floor(value + 0.5) : value);
    }
  }
  return out;
}

Plane resize(const Plane& in, int width, int height, bool is_photo) {
  return resize_and_turn(resize_and_turn(in, width, is_photo), height, is_photo);
}

Plane crop(const Plane& in, int width, int height) {
  Plane out{width, height, {}};
  for (int y = 0; y < height; ++y)
    std::copy_n(in.values.begin() + size_t(y) * in.width, width, std::back_inserter(out.values));
  return out;
}

std::vector<Plane> read_ppm(const std::string& path) {  // binary, 8 bits, without comments
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int width = 0, height = 0, largest = 0;
  file >> magic >> width >> height >> largest;
  file.get();
  if (magic != "P6" || largest != 255 || width < 1 || height < 1) throw std::runtime_error(path + " is no 8-bit PPM");
  std::string bytes(size_t(width) * height * 3, '\0');
  if (!file.read(bytes.data(), std::streamsize(bytes.size()))) throw std::runtime_error(path + " is cut off");
  std::vector<Plane> rgb(3, Plane{width, height, std::vector<float>(bytes.size() / 3)});
  for (size_t i = 0; i < bytes.size(); ++i) rgb[i % 3].values[i / 3] = float(static_cast<unsigned char>(bytes[i]));
  return rgb;
}

// The mobile format's file where there is no ONNX file.
fs::path either(const fs::path& onnx) { return fs::exists(onnx) ? onnx : fs::path(onnx).replace_extension(".ort"); }

struct Model {
  Ort::Env env{ORT_LOGGING_LEVEL_ERROR};
  Ort::Session encoder, decoder;
  Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  int side;  // of the padded square, in pixels

  explicit Model(const fs::path& folder)
      : encoder(env, either(folder / "encoder.onnx").c_str(), Ort::SessionOptions{}),
        decoder(env, either(folder / "decoder.onnx").c_str(), Ort::SessionOptions{}) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto text = encoder.GetModelMetadata().LookupCustomMetadataMapAllocated("image_size", allocator);
    if (!text) throw std::runtime_error("the encoder says no image_size; export it again");
    side = std::stoi(text.get());
  }

  Ort::Value tensor(std::vector<float>& values, const Shape& shape) {  // the values must outlive it
    return Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), shape.data(), shape.size());
  }
};

// The logits of the photo's most likely object at a point, one per pixel of the photo; above 0 is object.
Plane segment(Model& model, const std::vector<Plane>& rgb, float x, float y) {
  // The photo's long side becomes the model's; the pixels stay 0 to 255.
  const int photo_w = rgb[0].width, photo_h = rgb[0].height, side = model.side;
  const double scale = double(side) / std::max(photo_w, photo_h);
  const int w = std::max(1, int(photo_w * scale + 0.5)), h = std::max(1, int(photo_h * scale + 0.5));
  std::vector<float> image;  // (1, 3, h, w)
  for (const Plane& channel : rgb)
    for (float value : resize(channel, w, h, true).values) image.push_back(value);
  auto image_tensor = model.tensor(image, {1, 3, h, w});
  const char* image_name = "image";
  const char* embedding_name = "embedding";
  // Encode once; any number of taps on the photo can then be decoded from the same embedding.
  auto encoded = model.encoder.Run(Ort::RunOptions{}, &image_name, &image_tensor, 1, &embedding_name, 1);

  // The point in pixels of the resized photo, and the padding that ends a prompt without a box.
  std::vector<float> coords{x * w / photo_w, y * h / photo_h, 0, 0}, labels{1, -1};
  const int low = side / 4;
  std::vector<float> no_mask(size_t(low) * low), has_mask{0}, min_score{-std::numeric_limits<float>::infinity()};
  std::vector<Ort::Value> inputs;
  inputs.push_back(std::move(encoded[0]));
  inputs.push_back(model.tensor(coords, {1, 2, 2}));
  inputs.push_back(model.tensor(labels, {1, 2}));
  inputs.push_back(model.tensor(no_mask, {1, 1, low, low}));
  inputs.push_back(model.tensor(has_mask, {1}));
  inputs.push_back(model.tensor(min_score, {}));
  const char* names[] = {"embedding", "point_coords", "point_labels", "mask_input", "has_mask_input", "min_score"};
  const char* outputs[] = {"low_res_masks", "iou_predictions"};
  auto decoded = model.decoder.Run(Ort::RunOptions{}, names, inputs.data(), inputs.size(), outputs, 2);

  // Masks 1 to 3 are the answers to one point, an object and its parts: the one with the best score.
  const float* scores = decoded[1].GetTensorData<float>();
  const auto best = std::max_element(scores + 1, scores + 4) - scores;
  const float* logits = decoded[0].GetTensorData<float>() + best * low * low;
  const Plane square = resize({low, low, std::vector<float>(logits, logits + low * low)}, side, side, false);
  return resize(crop(square, w, h), photo_w, photo_h, false);
}

int main(int count, char** words) try {
  if (count != 6) throw std::runtime_error("usage: segment MODEL_FOLDER photo.ppm X Y mask.pgm");
  Model model(words[1]);
  const Plane logits = segment(model, read_ppm(words[2]), std::stof(words[3]), std::stof(words[4]));
  std::ofstream file(words[5], std::ios::binary);
  file << "P5\n" << logits.width << ' ' << logits.height << "\n255\n";
  for (float value : logits.values) file.put(value > 0 ? '\xff' : '\0');
  if (!file.flush()) throw std::runtime_error(std::string(words[5]) + " cannot be written");
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
