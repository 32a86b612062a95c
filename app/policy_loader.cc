#include "app/policy_loader.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "core/base/time.h"
#include "policy/parsed_source.h"
#include "policy/source_file.h"
#include "policy/yaml_reader.h"
#include "sandbox/descriptors.h"
#include "sandbox/diagnostics.h"
#include "sandbox/launcher_lock.h"
#include "sandbox/memory_file.h"
#include "sandbox/spawn.h"

namespace cordon::app {
namespace {

constexpr base::Duration kTimeForAll = std::chrono::seconds{5};
constexpr std::string_view kVerboseWord = "--verbose";
constexpr std::string_view kStrictWord = "--strict";
constexpr std::string_view kReloadWord = "--reload";

struct Words {
  bool reload = false;
  bool strict = false;
  std::vector<std::string> for_reader;
  std::vector<std::string> files;
};

Words parse_words(std::span<const std::string> arguments) {
  Words words;
  std::size_t i = 0;
  for (; i < arguments.size() && arguments[i] != "--"; ++i) {
    if (arguments[i] == kReloadWord)
      words.reload = true;
    else
      words.for_reader.push_back(arguments[i]);
    words.strict = words.strict || arguments[i] == kStrictWord;
  }
  if (i < arguments.size())
    words.files.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
  return words;
}

// One file on its way.
struct Load {
  std::string path;
  policy::SourceFile source{};
  base::Fd answer{};
  sandbox::Process reader{};
  std::string failure{};  // why there is no answer
};

class Loader {
 public:
  Loader(const Words& words, base::Fd executable, base::Fd self, base::Fd diagnostics)
      : words_(words),
        executable_(std::move(executable)),
        self_(std::move(self)),
        diagnostics_(std::move(diagnostics)),
        deadline_(base::monotonic_now() + kTimeForAll) {}

  std::string bundle() {
    for (const auto& path : words_.files) loads_.push_back({.path = path});
    for (auto& load : loads_) open(load);
    // A pipe may let us wait; the others are read meanwhile.
    for (auto& load : loads_)
      if (load.failure.empty() && !load.source.is_pipe) start(load);
    for (auto& load : loads_)
      if (load.failure.empty() && load.source.is_pipe) start(load);
    std::vector<policy::EncodedFile> files;
    for (auto& load : loads_) {
      wait(load);
      files.push_back({load.path, answer(load)});
    }
    return policy::encode_bundle(files);
  }

 private:
  [[nodiscard]] base::Duration left() const {
    return std::max(deadline_ - base::monotonic_now(), base::Duration::zero());
  }

  void open(Load& load) {
    auto source = policy::open_source_file(load.path);
    if (!source) {
      load.failure = source.error();
      return;
    }
    if (source->is_pipe && words_.reload)
      load.failure = "a pipe can be read once, when cordon starts; give a regular file to reload it";
    load.source = std::move(*source);
  }

  void start(Load& load) {
    if (load.source.is_pipe)
      if (const auto writes = policy::await_writer(load.source, left()); !writes) {
        load.failure = writes.error();
        return;
      }
    auto answer = sandbox::make_memory_file("policy answer");
    if (!answer) {
      load.failure = base::describe(answer.error());
      return;
    }
    auto reader = sandbox::spawn_role({.role = sandbox::Role::kPolicyReader,
                                       .executable = executable_.get(),
                                       .arguments = words_.for_reader,
                                       .launcher = self_.get(),
                                       .input = load.source.fd.get(),
                                       .output = answer->get(),
                                       .diagnostics = diagnostics_.get(),
                                       .strict = words_.strict});
    if (!reader) {
      load.failure = "cannot be read in a process of its own: " + base::describe(reader.error());
      return;
    }
    load.answer = std::move(*answer);
    load.reader = std::move(*reader);
  }

  void wait(Load& load) {
    if (!load.reader.running()) return;
    pollfd end{load.reader.pidfd.get(), POLLIN, 0};
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left()).count();
    const bool late = ::poll(&end, 1, static_cast<int>(milliseconds)) == 0;
    if (late) ::kill(load.reader.pid, SIGKILL);
    int status = 0;
    ::waitpid(load.reader.pid, &status, 0);
    load.reader = {};
    if (late)
      load.failure = "was not read within 5 s";
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
      load.failure = "the process that reads it failed: " + sandbox::describe_status(status);
  }

  static std::string answer(const Load& load) {
    std::string why = load.failure;
    if (why.empty()) {
      if (auto bytes = sandbox::read_memory_file(load.answer.get(), policy::kMaxEncodedBytes))
        return std::move(*bytes);
      why = "the process that reads it gave no answer of a bearable size";
    }
    return policy::encode(policy::unreadable(load.path, std::move(why)));
  }

  const Words& words_;
  base::Fd executable_;
  base::Fd self_;
  base::Fd diagnostics_;
  base::Instant deadline_;
  std::vector<Load> loads_{};
};

int report(std::string_view role, const base::Error& error) {
  std::fprintf(stderr, "cordon: %.*s: %s\n", static_cast<int>(role.size()), role.data(),
               base::describe(error).c_str());
  return 1;
}

std::string too_many(std::size_t count) {
  const std::vector one{policy::EncodedFile{
      "--policy",
      policy::encode(policy::unreadable("--policy",
                                        "given " + std::to_string(count) + " times; " +
                                            std::to_string(policy::PolicySet::kMaxFiles) + " is the most",
                                        policy::Code::kTooMany))}};
  return policy::encode_bundle(one);
}

base::Result<void> load(const Words& words) {
  if (words.files.size() > policy::PolicySet::kMaxFiles) {
    if (!sandbox::write_all(STDOUT_FILENO, too_many(words.files.size()))) return base::fail_errno("write");
    return {};
  }
  base::Fd executable{::open("/proc/self/exe", O_PATH | O_CLOEXEC)};
  if (!executable) return base::fail_errno("open", "/proc/self/exe");
  base::Fd self{sandbox::open_pidfd(::getpid())};
  if (!self) return base::fail_errno("pidfd_open");
  // Foreign bytes may move the readers to say something: it is shown as the translator's words are.
  sandbox::DiagnosticsPipe pipe{"policy-reader"};
  base::Fd end = CORDON_TRY(pipe.open());
  {
    Loader loader{words, std::move(executable), std::move(self), std::move(end)};
    const std::string bundle = loader.bundle();
    if (!sandbox::write_all(STDOUT_FILENO, bundle)) return base::fail_errno("write", "policy bundle");
  }
  while (pipe.relay_some()) {
  }
  return {};
}

}  // namespace

PolicyFiles::PolicyFiles(const RunOptions& options) : given_(options.policy_files) {}

std::vector<std::string> PolicyFiles::current() {
  // Only "there is no such file" means that there is none: an operator's file that cannot be read must stop
  // the start.
  struct stat info{};
  has_operator_ =
      has_operator_ || ::stat(kOperatorPolicy, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
  std::vector<std::string> files;
  if (has_operator_) files.emplace_back(kOperatorPolicy);
  files.insert(files.end(), given_.begin(), given_.end());
  return files;
}

std::vector<std::string> loader_arguments(const RunOptions& options, LoadKind kind,
                                          const std::vector<std::string>& files) {
  if (files.empty()) return {};
  std::vector<std::string> words;
  if (kind == LoadKind::kReload) words.emplace_back(kReloadWord);
  if (options.verbosity == Verbosity::kVerbose && kind == LoadKind::kFirst) words.emplace_back(kVerboseWord);
  if (options.isolation == Isolation::kStrict) words.emplace_back(kStrictWord);
  words.emplace_back("--");
  words.insert(words.end(), files.begin(), files.end());
  return words;
}

int run_policy_loader(std::span<const std::string> arguments) {
  const auto role = sandbox::to_string(sandbox::Role::kPolicyLoader);
  if (const auto begun = sandbox::begin_role(sandbox::Role::kPolicyLoader); !begun)
    return report(role, begun.error());
  if (const auto locked = sandbox::lock_launcher(sandbox::Role::kPolicyLoader, {}); !locked)
    return report(role, locked.error());
  if (const auto loaded = load(parse_words(arguments)); !loaded) return report(role, loaded.error());
  return 0;
}

int run_policy_reader(std::span<const std::string> arguments) {
  const auto role = sandbox::to_string(sandbox::Role::kPolicyReader);
  if (const auto begun = sandbox::begin_role(sandbox::Role::kPolicyReader); !begun)
    return report(role, begun.error());
  const auto given = [&](std::string_view word) {
    return std::ranges::find(arguments, word) != arguments.end();
  };
  if (const auto locked = sandbox::lock_policy_reader({.max_fds = 8,
                                                       .print_report = given(kVerboseWord),
                                                       .strict = given(kStrictWord),
                                                       .max_output = policy::kMaxEncodedBytes});
      !locked)
    // Strict: the broker has less to ask for, and says it.
    return locked.error().op == sandbox::kStrictRefusal ? 1 : report(role, locked.error());
  policy::Source source;
  source.text.resize(policy::kMaxPolicyBytes + 1);  // one byte more: the parser says that it is too much
  std::size_t size = 0;
  while (size < source.text.size()) {
    const ssize_t got = ::read(STDIN_FILENO, source.text.data() + size, source.text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) ::_exit(1);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  source.text.resize(size);
  ::_exit(sandbox::write_all(STDOUT_FILENO, policy::encode(policy::parse(std::move(source)))) ? 0 : 1);
}

}  // namespace cordon::app
