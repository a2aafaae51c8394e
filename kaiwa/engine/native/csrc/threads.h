// A fixed crew of threads that run the same function together. Between its phases they wait for each other by spinning
// (a phase takes microseconds), but not for long: on a busy machine a waiting thread yields its core.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

class Crew {
  public:
    explicit Crew(int size) : size(size) {
        for (int i = 1; i < size; i++) members.emplace_back([this, i] { serve(i); });
    }

    ~Crew() {
        work = nullptr;
        turn.fetch_add(1);
        turn.notify_all();
        for (auto& member : members) member.join();
    }

    // work(i) on the first n members, this thread being member 0; returns when all have ended.
    void run(std::function<void(int)> todo) {
        if (n == 1) return todo(0);
        work = std::move(todo);
        turn.fetch_add(1);
        turn.notify_all();
        work(0);
        meet();
    }

    // A barrier: no member continues before all have arrived.
    void meet() {
        const int round = rounds.load(std::memory_order_relaxed);
        if (arrived.fetch_add(1) + 1 == n) {
            arrived.store(0);
            rounds.fetch_add(1);
            return;
        }
        for (int looks = 0; rounds.load() == round; looks++) looks < PATIENCE ? _mm_pause() : std::this_thread::yield();
    }

    // Member i's share [first, last) of `count` items.
    std::pair<int, int> share(int count, int i) const {
        return {static_cast<int>(1L * count * i / n), static_cast<int>(1L * count * (i + 1) / n)};
    }

    const int size;
    int n = 1;  // 1 or all; changes between runs only

  private:
    static constexpr int PATIENCE = 2000;  // spins, about a hundred microseconds

    void serve(int i) {
        for (unsigned seen = 0;; seen++) {
            // The next token comes within a millisecond or two, and to wake a sleeper costs about as long: it stays awake
            // for that time, leaving its core to whoever wants it.
            for (int looks = 0; turn.load() == seen && looks < 2 * PATIENCE; looks++) _mm_pause();
            const auto late = std::chrono::steady_clock::now() + std::chrono::milliseconds(4);
            while (turn.load() == seen && std::chrono::steady_clock::now() < late) std::this_thread::yield();
            turn.wait(seen);
            if (!work) return;
            work(i);
            meet();
        }
    }

    std::vector<std::thread> members;
    std::function<void(int)> work;
    std::atomic<unsigned> turn{0};
    std::atomic<int> arrived{0}, rounds{0};
};

// Whether to use all threads or one. When other processes use the cores, a crew waits at every phase for the members
// that do not run, and one thread can be many times quicker. Both are timed for each order of size; results are equal.
class Pace {
  public:
    // How many of `size` threads the next call on `tokens` tokens should use.
    int choose(int tokens, int size) {
        now = &sizes[std::min(15, 31 - __builtin_clz(static_cast<unsigned>(std::max(tokens, 1))))];
        const int call = now->calls++;
        together = size > 1 && call != 1;
        if (call > 1 && now->alone > 0) {
            const bool slow = now->together > 2 * now->best;  // than it has been: is alone quicker by now?
            if (now->together > now->alone) together = call % RETRY < 2;  // twice: the first wakes the others
            else if (slow) together = call % 4 != 0;
        }
        together &= size > 1;
        begin = std::chrono::steady_clock::now();
        return together ? size : 1;
    }

    void note() {
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        double& known = together ? now->together : now->alone;
        known = known > 0 ? std::min(seconds, 1.25 * known) : seconds;  // a single slow call says little
        if (together) now->best = std::min(now->best, seconds);
    }

  private:
    static constexpr int RETRY = 16;
    struct Size {
        int calls = 0;
        double together = 0, alone = 0, best = 1e9;  // seconds: as known now, and the best together
    };
    Size sizes[16];
    Size* now = nullptr;
    bool together = true;
    std::chrono::steady_clock::time_point begin;
};
