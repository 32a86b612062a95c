#include "sandbox/translator_lane.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "sandbox/descriptors.h"

namespace cordon::sandbox {
namespace {

constexpr base::Duration kLastWords = std::chrono::milliseconds{50};

// The file is the standard input, which a translator has no other use for.
std::optional<link::CaptureLink> capture_of(const LaneSetup& setup, link::Link& inner) {
  if (!setup.config.capture) return std::nullopt;
  return std::optional<link::CaptureLink>{std::in_place, inner, STDIN_FILENO};
}

std::optional<link::FaultLink> faults_of(const LaneSetup& setup, link::Link& inner) {
  if (!setup.config.faults) return std::nullopt;
  link::Faults faults = *setup.config.faults;
  faults.seed += setup.number;
  return std::optional<link::FaultLink>{std::in_place, inner, faults};
}

}  // namespace

void ChannelSource::on_ready(std::uint32_t events, base::Instant) {
  if (gate_.dispatch(events_, (events & EPOLLOUT) != 0) == ChannelGate::Status::kClosed) closed_ = true;
}

void ChannelSource::adjust() {
  if (gate_.wants_write() == watching_output_) return;
  watching_output_ = !watching_output_;
  worker_.want_output(gate_.poll_fd(), watching_output_);
}

void CounterReporter::send() {
  const Values own = worker_.counters().values();
  const Values shared = shared_ == nullptr ? Values{} : shared_->counters().values();
  CounterValues sum{};
  for (std::size_t i = 0; i < own.size(); ++i) sum.at(i) = own.at(i) + shared.at(i);
  if (!gate_.send_counters(sum)) return;
  sent_ = own;
  sent_shared_ = shared;
}

base::Duration CounterReporter::tick(base::Instant now) {
  constexpr base::Duration kInterval = std::chrono::seconds{1};
  constexpr base::Duration kForever = std::chrono::hours{1};
  if (!moved()) return kForever;
  if (now < next_) return next_ - now;
  next_ = now + kInterval;
  send();
  return moved() ? kInterval : kForever;
}

void CounterReporter::finish() {
  if (moved()) send();
}

Lane::Lane(const LaneSetup& setup)
    : group_(setup.group),
      number_(setup.number),
      link_({.kind = setup.config.link,
             .lane = setup.number,
             .offloads = setup.offloads,
             .bulk_queue = setup.bulk_queue,
             .vhost = setup.vhost}),
      captured_(capture_of(setup, link_.link())),
      faulty_(faults_of(setup, outer_link())),
      gate_(base::Fd{worker_fds(setup.number).channel}),
      worker_(setup.worker, chosen_link(), gate_),
      channel_(gate_, worker_,
               shared_ ? static_cast<flow::GateEvents&>(sorter_.emplace(*shared_, worker_, gate_)) : worker_),
      counters_(gate_, worker_, shared_ ? &*shared_ : nullptr) {
  worker_.add_poll_source(gate_.poll_fd(), channel_);
}

// The guest's end, written down or not.
link::Link& Lane::outer_link() { return captured_ ? static_cast<link::Link&>(*captured_) : link_.link(); }

link::Link& Lane::chosen_link() {
  link::Link& queue = faulty_ ? static_cast<link::Link&>(*faulty_) : outer_link();
  if (group_ == nullptr) return queue;
  return shared_.emplace(queue, *group_, number_);
}

bool Lane::turn() {
  worker_.run_once(counters_.tick(base::monotonic_now()));
  channel_.adjust();
  return !channel_.closed() && !link_.dead() && (group_ == nullptr || !group_->stopped());
}

void Lane::finish() {
  if (captured_ && captured_->lost() > 0)
    std::fprintf(stderr, "cordon: --pcap: %llu frames are not in the file\n",
                 static_cast<unsigned long long>(captured_->lost()));
  if (group_ != nullptr) group_->stop();
  counters_.finish();
  // A full channel: the broker makes room, unless it is stuck itself.
  const base::Instant patience = base::monotonic_now() + kLastWords;
  while (gate_.wants_write() && !channel_.closed() && base::monotonic_now() < patience) {
    channel_.adjust();
    worker_.run_once(std::chrono::milliseconds{1});
    counters_.finish();
  }
}

}  // namespace cordon::sandbox
