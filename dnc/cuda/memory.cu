// The memory matrix of a lane, transposed as on the CPU: (W, N). Content
// addressing, writing and reading, with backward.

// out[r] = 1 / sqrt(|keys[r]|^2 + epsilon).
__device__ void key_norms(const Step &s, const real *keys, int count,
                          real *out) {
    row_sums<1>(
        s.shared, count, s.width,
        [&](int r, int j) { return keys[r * s.width + j]; },
        [](int, int, real k, real *sums) { sums[0] += k * k; },
        [&](int, int r, real total) { out[r] = 1 / sqrt(total + s.epsilon); });
}

// store(r, i, sum_j vectors[r, j] memory[j, i]) for `count` vectors.
template <int COUNT, class Store>
__device__ void scores(const Step &s, const real *memory, const real *vectors,
                       int count, Store store) {
    int n = s.slots, w = s.width;
    for (int first = 0; first < count; first += COUNT)
        column_sums<COUNT>(
            s.shared, w, n, [&](int j, int i) { return memory[j * n + i]; },
            [&](int j, int, real m, real *sums) {
#pragma unroll
                for (int q = 0; q < COUNT; ++q)
                    if (first + q < count)
                        sums[q] += vectors[(first + q) * w + j] * m;
            },
            [&](int i, real *sums) {
#pragma unroll
                for (int q = 0; q < COUNT; ++q)
                    if (first + q < count) store(first + q, i, sums[q]);
            });
}

// store(r, j, sum_i weights[r, i] memory[j, i]) for `count` weightings.
template <int COUNT, class Store>
__device__ void combine(const Step &s, const real *memory, const real *weights,
                        int count, Store store) {
    int n = s.slots;
    for (int first = 0; first < count; first += COUNT)
        row_sums<COUNT>(
            s.shared, s.width, n,
            [&](int j, int i) { return memory[j * n + i]; },
            [&](int, int i, real m, real *sums) {
#pragma unroll
                for (int q = 0; q < COUNT; ++q)
                    if (first + q < count)
                        sums[q] += weights[(first + q) * n + i] * m;
            },
            [&](int q, int j, real total) {
                if (first + q < count) store(first + q, j, total);
            });
}

// cosine and content, (count, N), of `count` keys. Each strength lies at
// strengths[r].
template <int COUNT>
__device__ void content_forward(const Step &s, const real *memory,
                                const real *norms, const real *keys,
                                const real *strengths, int count, real *cosine,
                                real *content) {
    int n = s.slots;
    real *norm = s.scalars, *best = norm + s.heads + 1;
    real *total = best + s.heads + 1;
    key_norms(s, keys, count, norm);
    scores<COUNT>(s, memory, keys, count, [&](int r, int i, real dot) {
        cosine[r * n + i] = dot * norm[r] * norms[i];
    });
    row_maxima(s.shared, count, n, best, [&](int r, int i) {
        return strengths[r] * cosine[r * n + i];
    });
    row_sums<1>(
        s.shared, count, n,
        [&](int r, int i) {
            return exp(strengths[r] * cosine[r * n + i] - best[r]);
        },
        [&](int r, int i, real e, real *sums) {
            content[r * n + i] = e;
            sums[0] += e;
        },
        [&](int, int r, real sum) { total[r] = sum; });
    each(count * n, [&](int k) { content[k] /= total[k / n]; });
}

// Backward through `content_forward` up to the products with the memory.
//
// mean: per key, sum_i content d_content. d_content leaves as g_i, what
// k . M[i] receives; pulls[i] is set to what |M[i]| receives over M[i], so
// that dM[i] = sum_r g_i k - pulls_i M[i]. d_strengths is set; own[r] receives
// the factor of -k in d_keys, which still lack sum_i g_i M[i].
__device__ void content_backward(const Step &s, const real *norms,
                                 const real *keys, const real *strengths,
                                 int count, const real *cosine,
                                 const real *content, const real *mean,
                                 real *d_content, real *pulls,
                                 real *d_strengths, real *norm, real *own) {
    int n = s.slots;
    key_norms(s, keys, count, norm);
    row_sums<1>(
        s.shared, count, n,
        [&](int r, int i) {
            int k = r * n + i;
            return content[k] * (d_content[k] - mean[r]) * cosine[k];
        },
        [](int, int, real x, real *sums) { sums[0] += x; },
        [&](int, int r, real total) {
            d_strengths[r] = total;
            own[r] = strengths[r] * total * norm[r] * norm[r];
        });
    each(n, [&](int i) {
        real pull = 0;
        for (int r = 0; r < count; ++r) {
            int k = r * n + i;
            real d_cosine =
                content[k] * (d_content[k] - mean[r]) * strengths[r];
            pull += d_cosine * cosine[k] * norms[i] * norms[i];
            d_content[k] = d_cosine * norm[r] * norms[i];
        }
        pulls[i] = pull;
    });
}

// M_t[i, j] = M_{t-1}[i, j] (1 - w[i] e[j]) + w[i] v[j].
__device__ inline real written(const Step &s, real before, int j, int i) {
    real w = s.weights[i];
    return before * (1 - s.xi[s.erase + j] * w) + s.xi[s.vector + j] * w;
}

// M_t, and the norms of its slots.
__device__ void write_memory(const Step &s, const real *memory,
                             real *new_memory) {
    int n = s.slots;
    column_sums<1>(
        s.shared, s.width, n, [&](int j, int i) { return memory[j * n + i]; },
        [&](int j, int i, real before, real *sums) {
            real x = written(s, before, j, i);
            new_memory[j * n + i] = x;
            sums[0] += x * x;
        },
        [&](int i, real *sums) {
            s.norms[i] = 1 / sqrt(sums[0] + s.epsilon);
        });
}

// Everything before the link: free, allocate, address and write.
__device__ void write_forward(const Step &s, const real *memory,
                              real *new_memory) {
    activate(s);
    usage_forward(s);
    ascending_order(s);
    allocation_forward(s);
    content_forward<1>(s, memory, s.norms_before, s.xi + s.key,
                       s.xi + s.key + s.width, 1, s.write_cosine,
                       s.write_content);
    real mix = s.xi[s.gates + s.heads], gate = s.xi[s.gates + s.heads + 1];
    real *total = s.scalars;
    row_sums<1>(
        s.shared, 1, s.slots,
        [&](int, int i) {
            // w^w = g^w (g^a a + (1 - g^a) c^w)
            return gate * (mix * s.allocation[i] +
                           (1 - mix) * s.write_content[i]);
        },
        [&](int, int i, real w, real *sums) {
            s.weights[i] = w;
            sums[0] += w;
        },
        [&](int, int, real sum) { total[0] = sum; });
    each(s.slots, [&](int i) {
        // p_t = (1 - sum_i w^w[i]) p_{t-1} + w^w
        s.precedence[i] =
            (1 - total[0]) * s.precedence_before[i] + s.weights[i];
    });
    write_memory(s, memory, new_memory);
}

// Everything after the link: address by content, mix, read into out (R, W).
__device__ void read_forward(const Step &s, const real *memory, real *out) {
    content_forward<HEADS_AT_ONCE>(s, memory, s.norms, s.xi,
                                   s.xi + s.strengths, s.heads, s.read_cosine,
                                   s.read_content);
    each(s.heads * s.slots, [&](int k) {
        const real *mode = s.xi + s.modes + k / s.slots * 3;
        // w^r = pi[1] b + pi[2] c^r + pi[3] f
        s.reads[k] = mode[0] * s.backward[k] + mode[1] * s.read_content[k] +
                     mode[2] * s.forward[k];
    });
    combine<HEADS_AT_ONCE>(
        s, memory, s.reads, s.heads,
        [&](int r, int j, real total) { out[r * s.width + j] = total; });
}
