// One lane of one step: where its numbers lie.

struct Step {
    int t, slots, width, heads;
    bool fresh;
    real epsilon;
    // parts of the interface, see dnc/access.py
    int strengths, key, erase, vector, gates, modes;
    real *xi, *slopes;
    // the state before the step: the empty one where the lane is fresh
    const real *usage_before, *precedence_before, *weights_before;
    const real *reads_before, *norms_before;
    // the state after it, and what lies between
    real *usage, *precedence, *weights, *reads, *norms;
    int *order;
    real *allocation, *write_cosine, *write_content;
    real *read_cosine, *read_content, *forward, *backward;
    // scratch of the lane: per head and read vector (8, R + 1), per slot
    // (4, N)
    real *scalars, *maps;
    real *shared;
};

__device__ Step step_of_lane(const Tape *tape, const Zeros *zeros,
                             const Scratch *scratch, int t, int slots,
                             int width, int heads, const bool *fresh,
                             real epsilon, real *shared) {
    int b = blockIdx.x, batch = gridDim.x;
    size_t lane = (size_t)t * batch + b, next = lane + batch;
    size_t n = slots, rn = (size_t)heads * slots;
    Step s;
    s.t = t, s.slots = slots, s.width = width, s.heads = heads;
    s.fresh = fresh[b];
    s.epsilon = epsilon;
    s.strengths = heads * width;
    s.key = s.strengths + heads;
    s.erase = s.key + width + 1;
    s.vector = s.erase + width;
    s.gates = s.vector + width;
    s.modes = s.gates + heads + 2;
    s.xi = tape->xi + lane * (s.modes + 3 * heads);
    s.slopes = tape->slopes + lane * (heads + 1);
    s.usage_before = s.fresh ? zeros->slots : tape->usage + lane * n;
    s.precedence_before = s.fresh ? zeros->slots : tape->precedence + lane * n;
    s.weights_before = s.fresh ? zeros->slots : tape->write_weights + lane * n;
    s.reads_before = s.fresh ? zeros->reads : tape->read_weights + lane * rn;
    s.norms_before = s.fresh ? zeros->norms : tape->norms + lane * n;
    s.usage = tape->usage + next * n;
    s.precedence = tape->precedence + next * n;
    s.weights = tape->write_weights + next * n;
    s.reads = tape->read_weights + next * rn;
    s.norms = tape->norms + next * n;
    s.order = tape->order + lane * n;
    s.allocation = tape->allocation + lane * n;
    s.write_cosine = tape->write_cosine + lane * n;
    s.write_content = tape->write_content + lane * n;
    s.read_cosine = tape->read_cosine + lane * rn;
    s.read_content = tape->read_content + lane * rn;
    s.forward = tape->forward + lane * rn;
    s.backward = tape->backward + lane * rn;
    s.scalars = scratch->scalars + (size_t)b * 8 * (heads + 1);
    s.maps = scratch->maps + (size_t)b * 4 * n;
    s.shared = shared;
    return s;
}

// A block's Step lies in shared memory, where it takes no registers.
#define STEP_OF_LANE                                                        \
    SHARED_NUMBERS(real, shared);                                           \
    __shared__ Step s;                                                      \
    if (threadIdx.x == 0)                                                   \
        s = step_of_lane(tape, zeros, scratch, t, slots, width, heads,      \
                         fresh, epsilon, shared);                           \
    __syncthreads();                                                        \
    size_t b = blockIdx.x, memory_size = (size_t)width * slots,             \
           link_size = (size_t)slots * slots;
