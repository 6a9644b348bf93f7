// Runs the signatures of an exported SavedModel, but translate_constrained, from C++: LoadSavedModel,
// as in TensorFlow Serving.
//
//     translate SAVED_MODEL _sentencepiece_tokenizer.so TEXT...
//
// Prints one line for each output: signature, name, shape and values, separated by tabs. The
// signature `score` rates the translations of `translate`.

#include <dlfcn.h>

#include <iomanip>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"

using tensorflow::Tensor;
using tensorflow::tstring;

template <typename T>
void PrintValues(const Tensor& tensor) {
  for (int64_t i = 0; i < tensor.NumElements(); ++i) std::cout << '\t' << tensor.flat<T>()(i);
}

void Print(const std::string& signature, const std::string& name, const Tensor& tensor) {
  std::cout << signature << '\t' << name << '\t' << tensor.shape().DebugString();
  if (tensor.dtype() == tensorflow::DT_STRING) PrintValues<tstring>(tensor);
  if (tensor.dtype() == tensorflow::DT_FLOAT) PrintValues<float>(tensor);
  if (tensor.dtype() == tensorflow::DT_HALF) PrintValues<Eigen::half>(tensor);  // --attention float16
  if (tensor.dtype() == tensorflow::DT_INT32) PrintValues<int32_t>(tensor);
  std::cout << '\n';
}

int Fail(const std::string& message) {
  std::cerr << message << std::endl;
  return 1;
}

int main(int argc, char** argv) {
  if (argc < 4) return Fail("usage: translate SAVED_MODEL _sentencepiece_tokenizer.so TEXT...");
  // The model's tokenizers are ops of TF Text; its library registers them when it is opened.
  if (!dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL)) return Fail(dlerror());

  tensorflow::SavedModelBundle bundle;
  absl::Status status = tensorflow::LoadSavedModel(
      tensorflow::SessionOptions(), tensorflow::RunOptions(), argv[1],
      {"serve"}, &bundle);
  if (!status.ok()) return Fail(status.ToString());

  Tensor texts(tensorflow::DT_STRING, {argc - 3});
  for (int i = 3; i < argc; ++i) texts.vec<tstring>()(i - 3) = argv[i];
  Tensor references;
  std::cout << std::setprecision(9);  // Enough digits for any float32.
  for (const std::string signature : {"translate", "serving_default", "nbest", "score", "embed"}) {
    const auto& definition = bundle.GetSignatures().at(signature);
    std::vector<std::pair<std::string, Tensor>> feeds;
    for (const auto& [name, info] : definition.inputs()) {
      feeds.emplace_back(info.name(), name == "reference" ? references : texts);
    }
    std::vector<std::string> names, fetches;
    for (const auto& [name, info] : definition.outputs()) {
      names.push_back(name);
      fetches.push_back(info.name());
    }
    std::vector<Tensor> answers;
    status = bundle.GetSession()->Run(feeds, fetches, {}, &answers);
    if (!status.ok()) return Fail(signature + ": " + status.ToString());
    for (size_t i = 0; i < names.size(); ++i) {
      Print(signature, names[i], answers[i]);
      if (signature == "translate" && names[i] == "translation") references = answers[i];
    }
  }
}
