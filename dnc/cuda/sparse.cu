// The sparse temporal link of a lane: dnc/cpu/sparse.py with threads.
//
// The link lies in its dense matrix beside a list of the entries that are not
// zero. Every step records the entries that it looked at, with the values
// before, and dropped ones by the complement of their index.

__device__ inline float product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double product(double a, double b) {
    return __dmul_rn(a, b);  // not contracted with the sum around it
}

// Where one lane's lists of one step lie.
struct Lists {
    int room, k;
    int *live, *length, *record, *recorded, *row, *column;
    real *old, *value, *gradient;
    int *chosen_rows, *chosen_columns;
    real *weights, *precedence, *d_weights, *d_precedence;  // sharpened
    real *weights_scale, *precedence_scale;  // sum of the chosen, factor
};

__device__ Lists lists_of_lane(const Step &s, const Sparse *sparse,
                               const Entries *entries, int room, int k) {
    size_t b = blockIdx.x, lane = (size_t)s.t * gridDim.x + b;
    size_t n = s.slots;
    Lists l;
    l.room = room, l.k = k;
    l.live = sparse->live + b * room;
    l.length = sparse->length + b;
    l.record = sparse->record + lane * room;
    l.old = sparse->old + lane * room;
    l.recorded = sparse->recorded + lane;
    l.row = entries->row + b * room;
    l.column = entries->column + b * room;
    l.value = entries->value + b * room;
    l.gradient = entries->gradient + b * room;
    l.chosen_rows = sparse->chosen + b * 2 * k;
    l.chosen_columns = l.chosen_rows + k;
    l.weights = sparse->sharp + b * 4 * n;
    l.precedence = l.weights + n;
    l.d_weights = l.precedence + n;
    l.d_precedence = l.d_weights + n;
    l.weights_scale = s.scalars + 5 * (s.heads + 1);
    l.precedence_scale = s.scalars + 6 * (s.heads + 1);
    return l;
}

#define LISTS_OF_LANE                                              \
    __shared__ Lists l;                                            \
    if (threadIdx.x == 0)                                          \
        l = lists_of_lane(s, sparse, entries, room, k);            \
    __syncthreads();

// The k largest values, earlier slots first, at their own places over their
// sum; the rest zero. scale receives that sum (0 where it does not exceed
// epsilon) and the factor.
__device__ void sharpen(const Step &s, const real *values, int k, bool scaled,
                        int *chosen, real *out, real *scale) {
    column_sums<1>(
        s.shared, s.slots, s.slots, [&](int j, int) { return values[j]; },
        [&](int j, int i, real other, real *sums) {
            real own = values[i];
            bool more = other > own || (other == other && own != own);
            bool less = own > other || (own == own && other != other);
            if (more || (!less && j < i)) sums[0] += 1;
        },
        [&](int i, real *sums) {
            out[i] = 0;
            if (sums[0] < k) chosen[(int)sums[0]] = i;
        });
    row_sums<1>(
        s.shared, scaled, s.slots, [&](int, int i) { return values[i]; },
        [](int, int, real x, real *sums) { sums[0] += x; },
        [&](int, int, real total) { scale[1] = total < 1 ? total : 1; });
    if (threadIdx.x == 0) {
        real total = 0;
        for (int c = 0; c < k; ++c) total += values[chosen[c]];
        scale[0] = total <= s.epsilon ? 0 : total;
        if (!scaled) scale[1] = 1;
    }
    __syncthreads();
    if (scale[0] != 0)
        each(k, [&](int c) {
            out[chosen[c]] = values[chosen[c]] / scale[0] * scale[1];
        });
}

// Backward through `sharpen`; adds to d_values.
__device__ void sharpen_backward(const Step &s, const real *values, int k,
                                 bool scaled, const int *chosen,
                                 const real *scale, const real *d_out,
                                 real *d_values) {
    if (scale[0] == 0) return;
    real *mean = s.scalars;
    row_sums<1>(
        s.shared, 1, k,
        [&](int, int c) {
            return d_out[chosen[c]] * values[chosen[c]] / scale[0];
        },
        [](int, int, real x, real *sums) { sums[0] += x; },
        [&](int, int, real total) { mean[0] = total; });
    each(k, [&](int c) {
        d_values[chosen[c]] +=
            (d_out[chosen[c]] - mean[0]) * scale[1] / scale[0];
    });
    if (scaled && scale[1] < 1)
        each(s.slots, [&](int i) { d_values[i] += mean[0]; });
}

__device__ void sharpen_both(const Step &s, const Lists &l, bool scaled) {
    sharpen(s, s.weights, l.k, scaled, l.chosen_rows, l.weights,
            l.weights_scale);
    sharpen(s, s.precedence_before, l.k, scaled, l.chosen_columns,
            l.precedence, l.precedence_scale);
}

// One update of link in place; returns how many entries were looked at.
__device__ int sparse_update(const Step &s, const Lists &l, real *link,
                             real threshold) {
    int n = s.slots;
    int *counts = (int *)s.shared;
    int length = l.length[0];
    if (s.fresh) {
        each(length, [&](int e) { link[l.live[e]] = 0; });
        length = 0;
    }
    // entries that the outer product w p^T may bring to life
    length += list_wanted(
        counts, l.k * l.k,
        [&](int c) {
            int i = l.chosen_rows[c / l.k], j = l.chosen_columns[c % l.k];
            return l.weights[i] != 0 && link[i * n + j] == 0;
        },
        [&](int position, int c) {
            l.live[length + position] =
                l.chosen_rows[c / l.k] * n + l.chosen_columns[c % l.k];
        });
    each(length, [&](int e) {
        int index = l.live[e], i = index / n, j = index % n;
        real before = link[index];
        real x = product(1 - l.weights[i] - l.weights[j], before) +
                 product(l.weights[i], l.precedence[j]);
        bool kept = i != j && x >= threshold;
        link[index] = l.value[e] = kept ? x : 0;
        l.old[e] = before;
        l.record[e] = kept ? index : ~index;
        l.row[e] = i, l.column[e] = j;
    });
    int count = list_wanted(
        counts, length, [&](int e) { return l.record[e] >= 0; },
        [&](int position, int e) { l.live[position] = l.record[e]; });
    if (threadIdx.x == 0) l.length[0] = count, l.recorded[0] = length;
    return length;
}

// out[r, i] = sum of value reads[r, other] over the entries whose `own`
// coordinate is i.
__device__ void list_products(const Step &s, const Lists &l, int length,
                              const int *own, const int *other, real *out) {
    int n = s.slots;
    for (int first = 0; first < s.heads; first += HEADS_AT_ONCE) {
        int heads = s.heads - first;
        const real *reads = s.reads_before + first * n;
        column_sums<HEADS_AT_ONCE>(
            s.shared, length, n, [&](int e, int) { return own[e]; },
            [&](int e, int i, int place, real *sums) {
                if (place != i) return;
                for (int q = 0; q < HEADS_AT_ONCE; ++q)
                    if (q < heads)
                        sums[q] += l.value[e] * reads[q * n + other[e]];
            },
            [&](int i, real *sums) {
#pragma unroll
                for (int q = 0; q < HEADS_AT_ONCE; ++q)
                    if (q < heads) out[(first + q) * n + i] = sums[q];
            });
    }
}

__device__ void sparse_forward(const Step &s, const Lists &l, real *link,
                               bool scaled, real threshold) {
    sharpen_both(s, l, scaled);
    int length = sparse_update(s, l, link, threshold);
    list_products(s, l, length, l.row, l.column, s.forward);
    list_products(s, l, length, l.column, l.row, s.backward);
}

// Of every recorded entry: its value and gradient; d_link goes from L_t to
// L_{t-1} there.
__device__ void entries_backward(const Step &s, const Lists &l, int length,
                                 const real *d_forward, const real *d_backward,
                                 real *d_link) {
    int n = s.slots;
    each(length, [&](int e) {
        int index = l.record[e];
        bool kept = index >= 0;
        index = kept ? index : ~index;
        int i = index / n, j = index % n;
        real before = l.old[e], g = 0, x = 0;
        real keep = 1 - l.weights[i] - l.weights[j];
        if (kept) {
            g = d_link[index];
            x = keep * before + l.weights[i] * l.precedence[j];
            for (int r = 0; r < s.heads; ++r)
                g += d_forward[r * n + i] * s.reads_before[r * n + j] +
                     d_backward[r * n + j] * s.reads_before[r * n + i];
        }
        l.row[e] = i, l.column[e] = j;
        l.value[e] = x, l.gradient[e] = g;
        // an entry that was not there is dead weight to the steps before
        bool alive = !s.fresh && (s.t == 0 || before != 0);
        d_link[index] = alive ? g * keep : 0;
    });
}

// Sums over the entries of row i (ROWS) or of column i: what w^r receives,
// and the sharpened weights and precedence in the first group of heads.
template <bool ROWS>
__device__ void list_backward(const Step &s, const Lists &l, int length,
                              const real *d_products, real *d_reads,
                              int first) {
    const int H = HEADS_AT_ONCE;
    const int *own = ROWS ? l.row : l.column;
    const int *other = ROWS ? l.column : l.row;
    int n = s.slots, heads = s.heads - first;
    column_sums<H + 2>(
        s.shared, length, n, [&](int e, int) { return own[e]; },
        [&](int e, int i, int place, real *sums) {
            if (place != i) return;
            int k = other[e];
            for (int q = 0; q < H; ++q)
                if (q < heads)
                    sums[q] += l.value[e] * d_products[(first + q) * n + k];
            if (ROWS)
                sums[H] += l.gradient[e] * (l.precedence[k] - l.old[e]);
            else
                sums[H] -= l.gradient[e] * l.old[e];
            if (!ROWS) sums[H + 1] += l.gradient[e] * l.weights[k];
        },
        [&](int i, real *sums) {
#pragma unroll
            for (int q = 0; q < H; ++q)
                if (q < heads) d_reads[(first + q) * n + i] += sums[q];
            if (first) return;
            if (ROWS)
                l.d_weights[i] = sums[H];
            else
                l.d_weights[i] += sums[H], l.d_precedence[i] = sums[H + 1];
        });
}

// Backward through `sparse_forward`; all but d_link are added to.
__device__ void sparse_backward(const Step &s, const Lists &l, bool scaled,
                                const real *d_forward, const real *d_backward,
                                real *d_link, real *d_weights,
                                real *d_precedence, real *d_reads) {
    sharpen_both(s, l, scaled);
    int length = l.recorded[0];
    entries_backward(s, l, length, d_forward, d_backward, d_link);
    for (int first = 0; first < s.heads; first += HEADS_AT_ONCE) {
        list_backward<true>(s, l, length, d_backward, d_reads, first);
        list_backward<false>(s, l, length, d_forward, d_reads, first);
    }
    sharpen_backward(s, s.weights, l.k, scaled, l.chosen_rows,
                     l.weights_scale, l.d_weights, d_weights);
    sharpen_backward(s, s.precedence_before, l.k, scaled, l.chosen_columns,
                     l.precedence_scale, l.d_precedence, d_precedence);
}
