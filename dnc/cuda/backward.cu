// Backward through one step of a lane, and where its gradients lie.

struct MemoryTriple {
    real gradient, after, before;
};

struct MemoryPair {
    real gradient, before;
};

struct Back {
    // of the state after the step; leave as of the state before it
    real *memory, *usage, *precedence, *link, *weights, *reads;
    real *forward, *backward, *content;  // scratch (R, N)
    real *pulls, *allocation, *write_content, *passed;  // scratch (N,)
    real *norm, *own, *mean;  // scratch (R + 1,)
    real *xi;
    const real *out;
};

__device__ Back back_of_lane(const Step &s, const Gradients *grads,
                             const real *d_out, real *d_xi) {
    size_t b = blockIdx.x, n = s.slots, rn = s.heads * n;
    Back g;
    g.memory = grads->memory + b * s.width * n;
    g.usage = grads->usage + b * n;
    g.precedence = grads->precedence + b * n;
    g.link = grads->link + b * n * n;
    g.weights = grads->write_weights + b * n;
    g.reads = grads->read_weights + b * rn;
    g.forward = grads->forward + b * rn;
    g.backward = grads->backward + b * rn;
    g.content = grads->content + b * rn;
    g.pulls = grads->slots + b * 6 * n;
    g.allocation = g.pulls + n;
    g.write_content = g.allocation + n;
    g.passed = g.write_content + n;
    g.norm = s.scalars;
    g.own = g.norm + s.heads + 1;
    g.mean = g.own + s.heads + 1;
    g.xi = d_xi + b * (s.modes + 3 * s.heads);
    g.out = d_out + b * s.heads * s.width;
    return g;
}

#define BACK_OF_LANE                                               \
    __shared__ Back g;                                             \
    if (threadIdx.x == 0) g = back_of_lane(s, grads, d_out, d_xi); \
    __syncthreads();

// From d_out (R, W) back to the modes, contents and link products. Leaves
// d f and d b, in g.content what the dot products of the keys receive, and
// sets g.pulls; g.reads is spent, zero for the step before.
__device__ void read_backward(const Step &s, const Back &g,
                              const real *memory) {
    int n = s.slots;
    scores<HEADS_AT_ONCE>(
        s, memory, g.out, s.heads,
        [&](int r, int i, real dot) { g.reads[r * n + i] += dot; });
    row_sums<3>(
        s.shared, s.heads, n,
        [&](int r, int i) { return g.reads[r * n + i]; },
        [&](int r, int i, real d, real *sums) {
            const real *mode = s.xi + s.modes + 3 * r;
            int k = r * n + i;
            sums[0] += d * s.backward[k];
            sums[1] += d * s.read_content[k];
            sums[2] += d * s.forward[k];
            g.backward[k] = d * mode[0];
            g.content[k] = d * mode[1];
            g.forward[k] = d * mode[2];
            g.reads[k] = 0;
        },
        [&](int q, int r, real total) {
            int m = s.modes + 3 * r + q;
            g.xi[m] = total;
            if (q == 1) g.mean[r] = total * s.xi[m];
        });
    content_backward(s, s.norms, s.xi, s.xi + s.strengths, s.heads,
                     s.read_cosine, s.read_content, g.mean, g.content, g.pulls,
                     g.xi + s.strengths, g.norm, g.own);
    combine<HEADS_AT_ONCE>(
        s, memory, g.content, s.heads, [&](int r, int j, real total) {
            int k = r * s.width + j;
            g.xi[k] = total - g.own[r] * s.xi[k];
        });
}

// Through p_t to w^w_t; g.precedence goes to p_{t-1}.
__device__ void precedence_backward(const Step &s, const Back &g) {
    real *sums_of_lane = s.scalars;
    row_sums<2>(
        s.shared, 1, s.slots, [&](int, int i) { return g.precedence[i]; },
        [&](int, int i, real d, real *sums) {
            sums[0] += d * s.precedence_before[i];
            sums[1] += s.weights[i];
        },
        [&](int q, int, real total) { sums_of_lane[q] = total; });
    each(s.slots, [&](int i) {
        real d = g.precedence[i];
        g.weights[i] += d - sums_of_lane[0];
        g.precedence[i] = d * (1 - sums_of_lane[1]);
    });
}

// Through reading from M_t and writing it; g.memory goes from M_t to what
// M_{t-1} receives through the write.
__device__ void memory_backward(const Step &s, const Back &g,
                                const real *memory, const real *new_memory) {
    int n = s.slots, width = s.width;
    const real *erase = s.xi + s.erase, *vector = s.xi + s.vector;
    column_sums<1>(
        s.shared, width, n,
        [&](int j, int i) {
            int k = j * n + i;
            return MemoryTriple{g.memory[k], new_memory[k], memory[k]};
        },
        [&](int j, int i, MemoryTriple x, real *sums) {
            real d = x.gradient - g.pulls[i] * x.after;
            for (int r = 0; r < s.heads; ++r)
                d += s.reads[r * n + i] * g.out[r * width + j] +
                     g.content[r * n + i] * s.xi[r * width + j];
            g.memory[j * n + i] = d;
            sums[0] += d * (vector[j] - x.before * erase[j]);
        },
        [&](int i, real *sums) { g.weights[i] += sums[0]; });
    row_sums<2>(
        s.shared, width, n,
        [&](int j, int i) {
            return MemoryPair{g.memory[j * n + i], memory[j * n + i]};
        },
        [&](int j, int i, MemoryPair x, real *sums) {
            real w = s.weights[i];
            sums[0] -= x.gradient * x.before * w;
            sums[1] += x.gradient * w;
            g.memory[j * n + i] = x.gradient * (1 - erase[j] * w);
        },
        [&](int q, int j, real total) {
            g.xi[(q ? s.vector : s.erase) + j] = total;
        });
}

// Through w^w = g^w (g^a a + (1 - g^a) c^w).
__device__ void weights_backward(const Step &s, const Back &g) {
    int mix_at = s.gates + s.heads, gate_at = mix_at + 1;
    real mix = s.xi[mix_at], gate = s.xi[gate_at];
    row_sums<3>(
        s.shared, 1, s.slots, [&](int, int i) { return g.weights[i]; },
        [&](int, int i, real d, real *sums) {
            real a = s.allocation[i], c = s.write_content[i];
            sums[0] += d * (mix * a + (1 - mix) * c);
            sums[1] += d * (a - c);
            sums[2] += d * gate * (1 - mix) * c;
            g.allocation[i] = d * gate * mix;
            g.write_content[i] = d * gate * (1 - mix);
        },
        [&](int q, int, real total) {
            if (q == 0) g.xi[gate_at] = total;
            if (q == 1) g.xi[mix_at] = total * gate;
            if (q == 2) g.mean[0] = total;
        });
}

// Through c^w to the write key and strength; g.memory gains the share of
// M_{t-1}, or is zero where the lane is fresh.
__device__ void write_content_backward(const Step &s, const Back &g,
                                       const real *memory) {
    int n = s.slots;
    const real *key = s.xi + s.key;
    content_backward(s, s.norms_before, key, key + s.width, 1, s.write_cosine,
                     s.write_content, g.mean, g.write_content, g.pulls,
                     g.xi + s.key + s.width, g.norm, g.own);
    row_sums<1>(
        s.shared, s.width, n,
        [&](int j, int i) {
            return MemoryPair{g.memory[j * n + i], memory[j * n + i]};
        },
        [&](int j, int i, MemoryPair x, real *sums) {
            real d = g.write_content[i];
            sums[0] += d * x.before;
            g.memory[j * n + i] = s.fresh ? 0
                                          : x.gradient + d * key[j] -
                                                g.pulls[i] * x.before;
        },
        [&](int, int j, real total) {
            g.xi[s.key + j] = total - g.own[0] * key[j];
        });
}

// Everything before the link, from w^w_t and M_t to the state before.
__device__ void write_step_backward(const Step &s, const Back &g,
                                    const real *memory,
                                    const real *new_memory) {
    memory_backward(s, g, memory, new_memory);
    weights_backward(s, g);
    write_content_backward(s, g, memory);
    allocation_backward(s, g.allocation, g.usage, g.passed);
    usage_backward(s, g.usage, g.weights, g.reads, g.xi + s.gates);
    activate_backward(s, g.xi);
    if (!s.fresh) return;
    each(s.slots, [&](int i) {
        g.usage[i] = g.precedence[i] = g.weights[i] = 0;
    });
    each(s.heads * s.slots, [&](int k) { g.reads[k] = 0; });
}
