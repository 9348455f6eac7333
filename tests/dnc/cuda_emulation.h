// Runs CUDA kernels on the CPU, to check them where there is no GPU.
//
// The threads of a block are fibers that take turns from barrier to barrier,
// in an order that the seed chooses: kernels whose threads race give other
// numbers in another order. A block whose threads do not all meet at the same
// barrier, or that writes beyond its shared memory, is reported.
//
// With EMULATE_WITH_THREADS they are real threads, for ThreadSanitizer.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(threads)
#define __syncthreads() emulation::barrier(__LINE__)
#define __fmul_rn(a, b) ((float)(a) * (float)(b))
#define __dmul_rn(a, b) ((double)(a) * (double)(b))
#define SHARED_NUMBERS(type, name) type *name = (type *)emulation::shared()

struct Dimension {
    unsigned x;
};

#ifdef EMULATE_WITH_THREADS
#include <pthread.h>

#include <thread>
static thread_local Dimension threadIdx;
#else
#include <ucontext.h>
static Dimension threadIdx;
#endif
static Dimension blockIdx, blockDim, gridDim;

namespace emulation {

const char CANARY = 0x5a;
static std::vector<char> shared_memory;

static void *shared() { return shared_memory.data(); }

static void fill_shared(int bytes) {
    shared_memory.assign(bytes + 64, CANARY);
    memset(shared_memory.data(), 0xff, bytes);  // not a number
}

static bool shared_overrun(int bytes) {
    for (int k = bytes; k < bytes + 64; ++k)
        if (shared_memory[k] != CANARY) return true;
    return false;
}

#ifdef EMULATE_WITH_THREADS
static pthread_barrier_t meeting;

static void barrier(int) { pthread_barrier_wait(&meeting); }

template <class Body>
bool run_block(unsigned threads, std::minstd_rand &, unsigned, Body body) {
    pthread_barrier_init(&meeting, nullptr, threads);
    std::vector<std::thread> all;
    for (unsigned n = 0; n < threads; ++n)
        all.emplace_back([=] {
            threadIdx.x = n;
            body();
        });
    for (auto &thread : all) thread.join();
    pthread_barrier_destroy(&meeting);
    return true;
}
#else
const size_t STACK = 1 << 16;
const int DONE = -1;

struct Fiber {
    ucontext_t context;
    int waits;  // line of the barrier, or DONE
    std::vector<char> stack = std::vector<char>(STACK);
};

static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static Fiber *current;
static void (*current_body)(void *);
static void *current_argument;

static void barrier(int line) {
    current->waits = line;
    swapcontext(&current->context, &scheduler);
}

static void run_fiber() {
    current_body(current_argument);
    current->waits = DONE;
    swapcontext(&current->context, &scheduler);
}

template <class Body>
bool run_block(unsigned threads, std::minstd_rand &random, unsigned seed,
               Body body) {
    if (fibers.size() < threads) fibers.resize(threads);
    current_body = [](void *argument) { (*(Body *)argument)(); };
    current_argument = &body;
    std::vector<unsigned> order(threads);
    for (unsigned n = 0; n < threads; ++n) {
        order[n] = seed == 1 ? threads - 1 - n : n;
        getcontext(&fibers[n].context);
        fibers[n].context.uc_stack.ss_sp = fibers[n].stack.data();
        fibers[n].context.uc_stack.ss_size = STACK;
        makecontext(&fibers[n].context, run_fiber, 0);
    }
    do {
        if (seed > 1) std::shuffle(order.begin(), order.end(), random);
        for (unsigned n : order) {
            current = &fibers[n];
            threadIdx.x = n;
            swapcontext(&scheduler, &current->context);
        }
        for (unsigned n = 1; n < threads; ++n)
            if (fibers[n].waits != fibers[0].waits) return false;
    } while (fibers[0].waits != DONE);
    return true;
}
#endif

template <class... A, size_t... I>
void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(A *)arguments[I]...);
}

// seed: 0 in order, 1 in reverse, others in a random order.
template <class... A>
const char *launch(void (*kernel)(A...), int count, void **arguments,
                   unsigned blocks, unsigned threads, int bytes,
                   unsigned seed) {
    if (count != sizeof...(A)) return "another number of arguments";
    std::minstd_rand random(seed);
    gridDim.x = blocks, blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
        fill_shared(bytes);
        if (!run_block(threads, random, seed, [=] {
                call(kernel, arguments, std::index_sequence_for<A...>());
            }))
            return "threads wait at different barriers";
        if (shared_overrun(bytes)) return "writes beyond its shared memory";
    }
    return nullptr;
}

}  // namespace emulation
