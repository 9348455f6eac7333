// The dense temporal link of a lane, (N, N), with backward.

struct LinkPair {
    real before, gradient;
};

// L_t[i, j] = (1 - w^w[i] - w^w[j]) L_{t-1}[i, j] + w^w[i] p_{t-1}[j], diag 0.
__device__ inline real updated(const Step &s, real before, int i, int j) {
    real w = s.weights[i];
    return i == j ? 0
                  : (1 - w - s.weights[j]) * before +
                        w * s.precedence_before[j];
}

// L_t, f = L_t w^r and b = L_t^T w^r: L_{t-1} is read once, L_t written and
// read once, for up to HEADS_AT_ONCE heads.
__device__ void link_forward(const Step &s, const real *link, real *new_link) {
    int n = s.slots;
    for (int first = 0; first < s.heads; first += HEADS_AT_ONCE) {
        const real *reads = s.reads_before + first * n;
        int heads = s.heads - first;
        column_sums<HEADS_AT_ONCE>(
            s.shared, n, n,
            [&](int i, int j) {
                return first ? new_link[i * n + j] : link[i * n + j];
            },
            [&](int i, int j, real x, real *sums) {
                if (!first) new_link[i * n + j] = x = updated(s, x, i, j);
#pragma unroll
                for (int q = 0; q < HEADS_AT_ONCE; ++q)
                    if (q < heads) sums[q] += reads[q * n + i] * x;
            },
            [&](int j, real *sums) {
#pragma unroll
                for (int q = 0; q < HEADS_AT_ONCE; ++q)
                    if (q < heads) s.backward[(first + q) * n + j] = sums[q];
            });
        row_sums<HEADS_AT_ONCE>(
            s.shared, n, n,
            [&](int i, int j) { return new_link[i * n + j]; },
            [&](int, int j, real x, real *sums) {
#pragma unroll
                for (int q = 0; q < HEADS_AT_ONCE; ++q)
                    if (q < heads) sums[q] += reads[q * n + j] * x;
            },
            [&](int q, int i, real total) {
                if (q < heads) s.forward[(first + q) * n + i] = total;
            });
    }
}

// Columns: d_link gains what comes through f and b; the sums over rows go to
// d_reads, d_weights and d_precedence.
__device__ void link_columns_backward(const Step &s, const real *link,
                                      const real *d_forward,
                                      const real *d_backward, real *d_link,
                                      real *d_weights, real *d_precedence,
                                      real *d_reads, int first) {
    const int H = HEADS_AT_ONCE;
    int n = s.slots, heads = s.heads - first;
    column_sums<H + 2>(
        s.shared, n, n,
        [&](int i, int j) {
            return LinkPair{link[i * n + j], d_link[i * n + j]};
        },
        [&](int i, int j, LinkPair x, real *sums) {
            if (!first) {
                real g = x.gradient;
                for (int r = 0; r < s.heads; ++r)
                    g += d_forward[r * n + i] * s.reads_before[r * n + j] +
                         s.reads_before[r * n + i] * d_backward[r * n + j];
                d_link[i * n + j] = g = i == j ? 0 : g;
                sums[H] += g * x.before;
                sums[H + 1] += g * s.weights[i];
            }
            real now = updated(s, x.before, i, j);
#pragma unroll
            for (int q = 0; q < H; ++q)
                if (q < heads) sums[q] += d_forward[(first + q) * n + i] * now;
        },
        [&](int j, real *sums) {
#pragma unroll
            for (int q = 0; q < H; ++q)
                if (q < heads) d_reads[(first + q) * n + j] += sums[q];
            d_weights[j] -= sums[H];
            d_precedence[j] += sums[H + 1];
        });
}

// Rows: the sums over columns; d_link goes from L_t to L_{t-1}.
__device__ void link_rows_backward(const Step &s, const real *link,
                                   const real *d_backward, real *d_link,
                                   real *d_weights, real *d_reads, int first) {
    const int H = HEADS_AT_ONCE;
    int n = s.slots, heads = s.heads - first;
    row_sums<H + 1>(
        s.shared, n, n,
        [&](int i, int j) {
            return LinkPair{link[i * n + j], d_link[i * n + j]};
        },
        [&](int i, int j, LinkPair x, real *sums) {
            if (!first) {
                sums[H] += x.gradient * (s.precedence_before[j] - x.before);
                d_link[i * n + j] =
                    x.gradient * (1 - s.weights[i] - s.weights[j]);
            }
            real now = updated(s, x.before, i, j);
#pragma unroll
            for (int q = 0; q < H; ++q)
                if (q < heads)
                    sums[q] += d_backward[(first + q) * n + j] * now;
        },
        [&](int q, int i, real total) {
            if (q == H)
                d_weights[i] += total;
            else if (q < heads)
                d_reads[(first + q) * n + i] += total;
        });
}

// Backward through `link_forward` and the update: d_link in place, the others
// are added to.
__device__ void link_backward(const Step &s, const real *link,
                              const real *d_forward, const real *d_backward,
                              real *d_link, real *d_weights,
                              real *d_precedence, real *d_reads) {
    for (int first = 0; first < s.heads; first += HEADS_AT_ONCE) {
        link_columns_backward(s, link, d_forward, d_backward, d_link,
                              d_weights, d_precedence, d_reads, first);
        link_rows_backward(s, link, d_backward, d_link, d_weights, d_reads,
                           first);
    }
}
