// A fixed crew of threads that go through the same function together. Between its phases they wait for each other by
// looking (a phase takes microseconds), but not for long: on a busy machine whoever waits gives the core away.
#pragma once

#include <immintrin.h>

#include <atomic>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

class Crew {
  public:
    explicit Crew(int n) : n(n) {
        for (int i = 1; i < n; i++) members.emplace_back([this, i] { serve(i); });
    }

    ~Crew() {
        work = nullptr;
        turn.fetch_add(1);
        turn.notify_all();
        for (auto& member : members) member.join();
    }

    // work(i) on every member i, this thread being member 0; returns when all have ended.
    void run(std::function<void(int)> todo) {
        work = std::move(todo);
        turn.fetch_add(1);
        turn.notify_all();
        work(0);
        meet();
    }

    // Nobody goes on before everybody is here.
    void meet() {
        const int round = rounds.load(std::memory_order_relaxed);
        if (arrived.fetch_add(1) + 1 == n) {
            arrived.store(0);
            rounds.fetch_add(1);
            return;
        }
        for (int looks = 0; rounds.load() == round; looks++) looks < PATIENCE ? _mm_pause() : std::this_thread::yield();
    }

    // Member i's share [first, last) of `count` things.
    std::pair<int, int> share(int count, int i) const {
        return {static_cast<int>(1L * count * i / n), static_cast<int>(1L * count * (i + 1) / n)};
    }

    const int n;

  private:
    static constexpr int PATIENCE = 2000;  // looks, a hundred microseconds or so

    void serve(int i) {
        for (unsigned seen = 0;; seen++) {
            for (int looks = 0; turn.load() == seen && looks < 2 * PATIENCE; looks++) _mm_pause();
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
