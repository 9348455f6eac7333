// What dnc/cuda/loops.py launches: one block per lane of the batch.

#define LANE_ARGUMENTS                                                      \
    const Tape *tape, const Zeros *zeros, const Scratch *scratch, int t,    \
        int slots, int width, int heads, const bool *fresh, real epsilon

#define KERNEL extern "C" __global__ __launch_bounds__(MOST_THREADS) void

KERNEL dnc_access_forward(LANE_ARGUMENTS, const real *memory, real *new_memory,
                          const real *link, real *new_link, real *out) {
    STEP_OF_LANE
    const real *before = s.fresh ? zeros->memory : memory + b * memory_size;
    real *after = new_memory + b * memory_size;
    write_forward(s, before, after);
    link_forward(s, s.fresh ? zeros->link : link + b * link_size,
                 new_link + b * link_size);
    read_forward(s, after, out + b * heads * width);
}

KERNEL dnc_access_forward_sparse(LANE_ARGUMENTS, const real *memory,
                                 real *new_memory, real *link,
                                 const Sparse *sparse, const Entries *entries,
                                 int room, int k, bool scaled, real threshold,
                                 real *out) {
    STEP_OF_LANE
    LISTS_OF_LANE
    const real *before = s.fresh ? zeros->memory : memory + b * memory_size;
    real *after = new_memory + b * memory_size;
    write_forward(s, before, after);
    sparse_forward(s, l, link + b * link_size, scaled, threshold);
    read_forward(s, after, out + b * heads * width);
}

// Memory and link after step t, from those before it; the tape is there.
KERNEL dnc_replay(LANE_ARGUMENTS, const real *memory, real *new_memory,
                  const real *link, real *new_link, bool dense) {
    STEP_OF_LANE
    const real *m = s.fresh ? zeros->memory : memory + b * memory_size;
    real *new_m = new_memory + b * memory_size;
    each(width * slots,
         [&](int k) { new_m[k] = written(s, m[k], k / slots, k % slots); });
    if (!dense) return;
    const real *x = s.fresh ? zeros->link : link + b * link_size;
    real *new_x = new_link + b * link_size;
    each(slots * slots,
         [&](int k) { new_x[k] = updated(s, x[k], k / slots, k % slots); });
}

KERNEL dnc_access_backward(LANE_ARGUMENTS, const real *memory,
                           const real *new_memory, const real *link,
                           const real *d_out, const Gradients *grads,
                           real *d_xi) {
    STEP_OF_LANE
    BACK_OF_LANE
    const real *after = new_memory + b * memory_size;
    read_backward(s, g, after);
    precedence_backward(s, g);
    link_backward(s, s.fresh ? zeros->link : link + b * link_size, g.forward,
                  g.backward, g.link, g.weights, g.precedence, g.reads);
    if (s.fresh) each(slots * slots, [&](int k) { g.link[k] = 0; });
    write_step_backward(
        s, g, s.fresh ? zeros->memory : memory + b * memory_size, after);
}

KERNEL dnc_access_backward_sparse(LANE_ARGUMENTS, const real *memory,
                                  const real *new_memory, const real *d_out,
                                  const Gradients *grads, real *d_xi,
                                  const Sparse *sparse, const Entries *entries,
                                  int room, int k, bool scaled) {
    STEP_OF_LANE
    BACK_OF_LANE
    LISTS_OF_LANE
    const real *after = new_memory + b * memory_size;
    read_backward(s, g, after);
    precedence_backward(s, g);
    sparse_backward(s, l, scaled, g.forward, g.backward, g.link, g.weights,
                    g.precedence, g.reads);
    write_step_backward(
        s, g, s.fresh ? zeros->memory : memory + b * memory_size, after);
}

// 1 / |M[i]| of the memory (B, W, N) that a sequence starts from.
KERNEL dnc_start(const real *memory, const Tape *tape, int slots, int width,
                 real epsilon) {
    SHARED_NUMBERS(real, shared);
    size_t b = blockIdx.x, n = slots;
    const real *m = memory + b * width * n;
    real *norms = tape->norms + b * n;
    column_sums<1>(
        shared, width, slots,
        [&](int j, int i) { return m[(size_t)j * slots + i]; },
        [](int, int, real x, real *sums) { sums[0] += x * x; },
        [&](int i, real *sums) { norms[i] = 1 / sqrt(sums[0] + epsilon); });
}

// Lists the entries of link (B, N, N) that are not zero.
KERNEL dnc_list_links(const real *link, const Sparse *sparse, int slots,
                      int room) {
    SHARED_NUMBERS(real, shared);
    size_t b = blockIdx.x, size = (size_t)slots * slots;
    const real *own = link + b * size;
    int *live = sparse->live + b * room;
    int count = list_wanted(
        (int *)shared, slots * slots, [&](int k) { return own[k] != 0; },
        [&](int position, int k) { live[position] = k; });
    if (threadIdx.x == 0) sparse->length[b] = count;
}
