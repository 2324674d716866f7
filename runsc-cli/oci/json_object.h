// Reading of JSON that others wrote, with errors and warnings that name the field.
#pragma once

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "platform/base/status.h"

namespace runsc {

struct JsonContext {
  std::string file;     // what messages call it
  base::Status status;  // the first error
  std::vector<std::string> warnings;
};

// A cursor over a JSON object that knows its place, reports type errors with the field's full name,
// and in the end which fields nobody asked for.
class JsonObject {
 public:
  JsonObject(const nlohmann::json* j, std::string where, JsonContext* context)
      : j_(j), where_(std::move(where)), context_(context) {}
  ~JsonObject() {
    if (j_ == nullptr) return;
    for (const auto& [key, value] : j_->items()) {
      if (std::find(seen_.begin(), seen_.end(), key) == seen_.end() && !value.is_null()) {
        Warn(Name(key.c_str()) + " is not supported and ignored");
      }
    }
  }
  bool present() const { return j_ != nullptr; }
  bool has(const char* key) { return Get(key) != nullptr; }

  void String(const char* key, std::string* out) {
    if (const nlohmann::json* v = Get(key)) {
      if (!v->is_string()) return Fail(key, "a string", *v);
      *out = v->get<std::string>();
    }
  }
  void Bool(const char* key, bool* out) {
    if (const nlohmann::json* v = Get(key)) {
      if (!v->is_boolean()) return Fail(key, "true or false", *v);
      *out = v->get<bool>();
    }
  }
  template <typename T>
  void Number(const char* key, T* out) {
    if (const nlohmann::json* v = Get(key)) {
      if (!v->is_number_integer()) return Fail(key, "a whole number", *v);
      if (v->is_number_unsigned()
              ? v->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<T>::max())
              : v->get<int64_t>() < static_cast<int64_t>(std::numeric_limits<T>::min())) {
        return Fail(key, "a number in range", *v);
      }
      *out = v->get<T>();
    }
  }
  void Strings(const char* key, std::vector<std::string>* out) {
    if (const nlohmann::json* v = Get(key)) {
      if (!v->is_array()) return Fail(key, "an array of strings", *v);
      for (const nlohmann::json& e : *v) {
        if (!e.is_string()) return Fail(key, "an array of strings", e);
        out->push_back(e.get<std::string>());
      }
    }
  }
  template <typename T>
  void Number(const char* key, std::optional<T>* out) {
    T v{};
    if (!has(key)) return;
    Number(key, &v);
    *out = v;
  }
  void Bool(const char* key, std::optional<bool>* out) {
    bool v = false;
    if (!has(key)) return;
    Bool(key, &v);
    *out = v;
  }
  // The members, all of them strings.
  void StringMap(std::vector<std::pair<std::string, std::string>>* out) {
    if (j_ == nullptr) return;
    for (const auto& [key, value] : j_->items()) {
      seen_.push_back(key);
      if (!value.is_string()) return Fail(key.c_str(), "a string", value);
      out->emplace_back(key, value.get<std::string>());
    }
  }
  template <typename T>
  void Numbers(const char* key, std::vector<T>* out) {
    if (const nlohmann::json* v = Get(key)) {
      if (!v->is_array()) return Fail(key, "an array of numbers", *v);
      for (const nlohmann::json& e : *v) {
        if (!e.is_number_unsigned()) return Fail(key, "an array of numbers", e);
        out->push_back(e.get<T>());
      }
    }
  }
  JsonObject Child(const char* key) {
    const nlohmann::json* v = Get(key);
    if (v != nullptr && !v->is_object()) {
      Fail(key, "an object", *v);
      v = nullptr;
    }
    return JsonObject(v, Name(key), context_);
  }
  template <typename F>
  void Each(const char* key, F&& f) {
    const nlohmann::json* v = Get(key);
    if (v == nullptr) return;
    if (!v->is_array()) return Fail(key, "an array", *v);
    for (size_t i = 0; i < v->size(); i++) {
      std::string name = std::string(key) + "[" + std::to_string(i) + "]";
      if (!(*v)[i].is_object()) return Fail(name.c_str(), "an object", (*v)[i]);
      JsonObject o(&(*v)[i], Name(name.c_str()), context_);
      f(o);
    }
  }
  // A field that is read elsewhere or means nothing here, without a warning.
  void Known(const char* key) { seen_.push_back(key); }
  void KnownAll() {
    if (j_ == nullptr) return;
    for (const auto& [key, value] : j_->items()) seen_.push_back(key);
  }
  std::string Name(const char* key) const { return where_.empty() ? key : where_ + "." + key; }
  void Error(const std::string& text) {
    if (context_->status.ok()) context_->status = base::Status::Error(context_->file + ": " + text);
  }
  void Warn(const std::string& text) { context_->warnings.push_back(context_->file + ": " + text); }

 private:
  const nlohmann::json* Get(const char* key) {
    if (j_ == nullptr) return nullptr;
    seen_.push_back(key);
    auto it = j_->find(key);
    return it == j_->end() || it->is_null() ? nullptr : &*it;
  }
  void Fail(const char* key, const char* want, const nlohmann::json& got) {
    Error(Name(key) + " must be " + want + ", not " + got.type_name());
  }

  const nlohmann::json* j_;
  std::string where_;
  JsonContext* context_;
  std::vector<std::string> seen_;
};

}  // namespace runsc
