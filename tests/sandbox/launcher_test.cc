#include <sys/stat.h>

#include "tests/sandbox/launcher_run.h"

namespace cordon::sandbox {

TEST_CASE("launcher: the command's exit status is ours, and everything ends with it") {
  Run run{"normal", "serve", [](int) { return 7; }};
  CHECK(run.exit_status() == 7);
  CAPTURE(run.text());
  CHECK(run.text().find("broker stopped") != std::string::npos);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: a command that a signal ended gives 128 + signal") {
  Run run{"normal", "serve", [](int) {
            ::raise(SIGKILL);
            return 0;
          }};
  CHECK(run.exit_status() == 137);
}

TEST_CASE("launcher: both roles report the isolation that is really active") {
  Run run{"normal", "serve", wait_for_release};
  CAPTURE(run.text());
  CHECK(run.sees("translator: user-ns"));
  CHECK(run.sees("broker: user-ns"));
  CHECK(run.sees("seccomp"));
  CHECK(run.text().find("FAILED") == std::string::npos);
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: policy errors stop the start with the broker's exit status") {
  Run run{"refuse", "serve", wait_for_release};
  CHECK(run.exit_status() == 2);
  CHECK(run.text().find("policy.yaml:1:1") != std::string::npos);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: a broker that dies takes the network, not the command") {
  Run run{"normal", "serve", wait_for_release};
  REQUIRE(run.sees("all ready"));
  ::kill(run.roles("--role=broker").front(), SIGTERM);
  CHECK(run.sees("event 2 killed by signal 15 (Terminated)"));
  CHECK(run.sees("no network any more"));
  const auto deadline = base::monotonic_now() + 10s;
  while (!run.roles().empty() && base::monotonic_now() < deadline) ::poll(nullptr, 0, 2);
  CHECK(run.roles().empty());
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: kill -9 of the broker is reported, of the translator is repaired") {
  Run run{"normal", "serve", wait_for_release};
  REQUIRE(run.sees("all ready"));
  REQUIRE(run.roles("--role=translator").size() == 1);
  ::kill(run.roles("--role=translator").front(), SIGKILL);
  CHECK(run.sees("event 0 killed by signal 9 (Killed)"));
  REQUIRE(run.sees("translator 2"));
  REQUIRE(run.roles("--role=broker").size() == 1);
  ::kill(run.roles("--role=broker").front(), SIGKILL);
  CHECK(run.sees("event 2 killed by signal 9 (Killed)"));
  run.release();
  CHECK(run.exit_status() == 0);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: kill -9 of the launcher leaves nothing behind") {
  Run run{"normal", "serve", wait_for_release};
  REQUIRE(run.sees("all ready"));
  run.signal(SIGKILL);
  CHECK(run.exit_status() == -SIGKILL);  // also: nobody holds its stderr any more
  CHECK(run.all_gone());
}

TEST_CASE("launcher: a revocation that does not end in 100 ms kills the translator") {
  for (const std::string_view mode : {"stuck", "wrong-end"}) {
    CAPTURE(mode);
    Run run{mode, "serve", wait_for_release};
    REQUIRE(run.sees("translator 1"));
    const auto begun = base::monotonic_now();
    CHECK(run.sees("event 0 a revocation took more than 100 ms"));
    const auto took = base::monotonic_now() - begun;
    CHECK(took > 50ms);  // the Begin is sent right after the line above
    CHECK(took < 5s);
    CHECK(run.sees("translator 2"));
    run.release();
    CHECK(run.exit_status() == 0);
  }
}

TEST_CASE("launcher: a revocation by a broker that only lacks a processor is waited for, up to a second") {
  Run patient{"busy", "serve", wait_for_release};
  REQUIRE(patient.sees("translator 1"));
  REQUIRE(patient.sees("busy no more"));
  CHECK_FALSE(patient.sees("event", 200ms));
  patient.release();
  CHECK(patient.exit_status() == 0);

  Run given_up{"busy-for-ever", "serve", wait_for_release};
  REQUIRE(given_up.sees("translator 1"));
  const auto begun = base::monotonic_now();
  CHECK(given_up.sees("event 0 a revocation took more than 100 ms"));
  CHECK(base::monotonic_now() - begun > 500ms);
}

TEST_CASE("launcher: revocations that end in time kill nobody") {
  Run run{"prompt", "serve", wait_for_release};
  REQUIRE(run.sees("translator 1"));
  CHECK_FALSE(run.sees("event", 300ms));
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: a protocol violation kills the translator") {
  Run run{"hostile", "serve", wait_for_release};
  CHECK(run.sees("event 0 it broke the channel's protocol (port)"));
  CHECK(run.sees("translator 2"));
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE(
    "launcher: a translator that makes a socket dies of it, and a crash loop slows down but never ends") {
  for (const char* const broker : {"normal", "late"}) {  // late: ready when translators have died already
    CAPTURE(broker);
    Run run{broker, "socket", wait_for_release};
    CHECK(run.sees("killed by signal 31 (Bad system call)"));
    CHECK(run.sees("event 1 killed by signal 31"));
    CHECK(run.sees("it ends again and again"));
    CHECK(run.text().find("translator 10") == std::string::npos);  // eight at once, then pauses
    CHECK(run.sees("translator 11"));                              // which are not the end
    std::size_t told = 0;
    const std::string text = run.text();
    for (auto at = text.find("event 0"); at != std::string::npos; at = text.find("event 0", at + 1)) ++told;
    CHECK(told == 8);
    run.release();
    CHECK(run.exit_status() == 0);
    CHECK(run.sees("the end comes, after "));
    CHECK(run.all_gone());
  }
}

TEST_CASE("launcher: a translator that cannot start ends the start, and the command does not run") {
  for (const char* const mode : {"early-exit", "late-exit"}) {
    CAPTURE(mode);
    Run run{"normal", mode, [](int) {
              std::fprintf(stderr, "it ran\n");
              return 0;
            }};
    CHECK(run.exit_status() == 125);
    CAPTURE(run.text());
    CHECK(run.text().find("before it was ready") != std::string::npos);
    CHECK(run.text().find("it ran") == std::string::npos);
    CHECK(run.text().find("event") == std::string::npos);
    CHECK(run.all_gone());
  }
}

TEST_CASE("launcher: what a translator writes to stderr is made printable") {
  Run run{"normal", "escape", wait_for_release};
  CHECK(run.sees("?]0;owned? ??"));
  CHECK(run.text().find('\x1b') == std::string::npos);
  run.release();
  CHECK(run.exit_status() == 0);
}

TEST_CASE("launcher: a signal goes to the command, a second one kills it") {
  Run polite{"normal", "serve", wait_for_release};
  REQUIRE(polite.sees("all ready"));
  polite.signal(SIGTERM);
  CHECK(polite.exit_status() == 128 + SIGTERM);
  CHECK(polite.all_gone());

  Run stubborn{"normal", "serve", [](int hold) {
                 ::signal(SIGTERM, SIG_IGN);
                 ::signal(SIGINT, SIG_IGN);  // both may be pending at once, and the lower number comes first
                 std::fprintf(stderr, "ignoring\n");
                 return wait_for_release(hold);
               }};
  REQUIRE(stubborn.sees("ignoring"));
  stubborn.signal(SIGTERM);
  stubborn.signal(SIGINT);
  CHECK(stubborn.exit_status() == 128 + SIGKILL);
  CHECK(stubborn.all_gone());
}

TEST_CASE("launcher: one signal ends a start that waits, here for the broker") {
  for (const int signal : {SIGTERM, SIGINT}) {
    Run run{"mute", "serve", wait_for_release};
    REQUIRE(run.sees("translator ready"));
    run.signal(signal);
    CHECK(run.exit_status(5s) == 128 + signal);
    CHECK(run.all_gone());
  }
}

TEST_CASE("launcher: a broker that fails before it is ready is our own failure, 125") {
  Run run{"fail", "serve", wait_for_release};
  CHECK(run.exit_status() == 125);
  CHECK(run.all_gone());
}

TEST_CASE("launcher: orphans of the command end with it") {
  Run run{"normal", "serve", [](int hold) {
            if (::fork() == 0) {
              ::setsid();
              if (::fork() == 0) std::fprintf(stderr, "orphan\n");
              wait_for_release(hold);  // holds stderr until it is killed
              ::pause();
            }
            char byte = 0;
            static_cast<void>(!::read(hold, &byte, 1));
            return 3;
          }};
  REQUIRE(run.sees("orphan"));
  run.release();
  CHECK(run.exit_status() == 3);
}

TEST_CASE("launcher: a changed resolv.conf reaches the broker, also by rename and behind a symbolic link") {
  std::string folder = "/tmp/cordon-resolv-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream{folder + "/" + name} << text;
  };
  ::mkdir((folder + "/run").c_str(), 0755);
  write("run/real", "nameserver 192.0.2.1\n");
  REQUIRE(::symlink("run/real", (folder + "/resolv.conf").c_str()) == 0);
  {
    Run run{"normal", "serve", wait_for_release, folder + "/resolv.conf"};
    const bool first = run.sees("resolvers: 192.0.2.1\n");
    CAPTURE(run.text());
    CHECK(first);
    REQUIRE(run.sees("translator 1"));
    write("run/real", "nameserver 192.0.2.2\n");  // in place, behind the link
    CHECK(run.sees("resolvers: 192.0.2.2\n"));
    write("run/new", "nameserver 2001:db8::3\nnameserver 192.0.2.3\n");
    ::rename((folder + "/run/new").c_str(), (folder + "/run/real").c_str());  // replaced behind the link
    CHECK(run.sees("resolvers: 2001:db8::3 192.0.2.3\n"));
    write("new", "nameserver 192.0.2.4\n");
    ::rename((folder + "/new").c_str(), (folder + "/resolv.conf").c_str());  // the link itself replaced
    CHECK(run.sees("resolvers: 192.0.2.4\n"));
    run.release();
    CHECK(run.exit_status() == 0);
  }
  for (const char* const name : {"/run/real", "/resolv.conf"}) ::unlink((folder + name).c_str());
  ::rmdir((folder + "/run").c_str());
  ::rmdir(folder.c_str());
}

TEST_CASE("launcher: works as an ordinary user") {
  if (::geteuid() != 0) return;  // then every other case has shown it
  Run run{"normal", "serve", [](int) { return 0; }};
  CHECK(run.exit_status() == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(98);
    ::prctl(PR_SET_DUMPABLE, 1);  // as after a login: a change of uid had cleared it
    Run user{"normal", "serve", [](int) { return 9; }};
    const int status = user.exit_status();
    if (status != 9) std::fputs(user.text().c_str(), stderr);
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  CHECK(WEXITSTATUS(status) == 9);
}

}  // namespace cordon::sandbox
