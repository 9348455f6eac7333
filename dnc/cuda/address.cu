// Interface, usage, allocation: dnc/addressing.py, with backward.

__device__ inline real sigmoid(real x) { return 1 / (1 + exp(-x)); }

// Applies the activations in place; slopes: derivatives of the strengths.
__device__ void activate(const Step &s) {
    int write_strength = s.key + s.width;
    each(s.modes, [&](int k) {
        real x = s.xi[k];
        bool read_strength = k >= s.strengths && k < s.key;
        if (read_strength || k == write_strength) {
            s.slopes[read_strength ? k - s.strengths : s.heads] = sigmoid(x);
            // oneplus(x) = 1 + ln(1 + e^x)
            s.xi[k] = 1 + (x < 0 ? 0 : x) + log1p(exp(-fabs(x)));
        } else if ((k >= s.erase && k < s.vector) || k >= s.gates) {
            s.xi[k] = sigmoid(x);
        }
    });
    each(s.heads, [&](int r) {
        real *x = s.xi + s.modes + 3 * r;
        real best = x[0] > x[1] ? x[0] : x[1];
        best = best > x[2] ? best : x[2];
        real a = exp(x[0] - best), b = exp(x[1] - best), c = exp(x[2] - best);
        real total = a + b + c;
        x[0] = a / total, x[1] = b / total, x[2] = c / total;
    });
}

// d_xi: from gradients of the activated parts to those of the raw xi.
__device__ void activate_backward(const Step &s, real *d_xi) {
    int write_strength = s.key + s.width;
    each(s.modes, [&](int k) {
        real x = s.xi[k];
        bool read_strength = k >= s.strengths && k < s.key;
        if (read_strength || k == write_strength)
            d_xi[k] *= s.slopes[read_strength ? k - s.strengths : s.heads];
        else if ((k >= s.erase && k < s.vector) || k >= s.gates)
            d_xi[k] *= x * (1 - x);
    });
    each(s.heads, [&](int r) {
        const real *x = s.xi + s.modes + 3 * r;
        real *d = d_xi + s.modes + 3 * r;
        real mean = x[0] * d[0] + x[1] * d[1] + x[2] * d[2];
        for (int m = 0; m < 3; ++m) d[m] = x[m] * (d[m] - mean);
    });
}

// u_t = (u + w^w - u w^w) prod_r (1 - f^r w^r), u and w of step t - 1.
__device__ void usage_forward(const Step &s) {
    each(s.slots, [&](int i) {
        real u = s.usage_before[i], w = s.weights_before[i];
        u = u + w - u * w;
        for (int r = 0; r < s.heads; ++r)
            u *= 1 - s.xi[s.gates + r] * s.reads_before[r * s.slots + i];
        s.usage[i] = u;
    });
}

// Backward through `usage_forward`. d_usage goes from u_t to u_{t-1};
// d_weights (of w^w_{t-1}) is set, d_reads (of w^r_{t-1}) is added to, d_free
// is set.
__device__ void usage_backward(const Step &s, real *d_usage, real *d_weights,
                               real *d_reads, real *d_free) {
    const real *free = s.xi + s.gates;
    // the factor of head r is left out, not divided out: it may be zero
    row_sums<1>(
        s.shared, s.heads, s.slots,
        [&](int r, int i) {
            real u = s.usage_before[i], w = s.weights_before[i];
            real d = d_usage[i] * (u + w - u * w);
            for (int q = 0; q < s.heads; ++q)
                if (q != r) d *= 1 - free[q] * s.reads_before[q * s.slots + i];
            return d;
        },
        [&](int r, int i, real d, real *sums) {
            sums[0] -= d * s.reads_before[r * s.slots + i];
            d_reads[r * s.slots + i] -= d * free[r];
        },
        [&](int, int r, real total) { d_free[r] = total; });
    each(s.slots, [&](int i) {
        real d = d_usage[i];
        for (int r = 0; r < s.heads; ++r)
            d *= 1 - free[r] * s.reads_before[r * s.slots + i];
        d_weights[i] = d * (1 - s.usage_before[i]);
        d_usage[i] = d * (1 - s.weights_before[i]);
    });
}

// The free list: a stable ascending sort, by counting for every slot those
// that come before it. NaN comes last, so the order stays a permutation.
__device__ void ascending_order(const Step &s) {
    const real *u = s.usage;
    int *order = s.order;
    column_sums<1>(
        s.shared, s.slots, s.slots, [&](int k, int) { return u[k]; },
        [&](int k, int i, real other, real *sums) {
            real own = u[i];
            bool less = other < own || (other == other && own != own);
            bool more = own < other || (own == own && other != other);
            if (less || (!more && k < i)) sums[0] += 1;
        },
        [&](int i, real *sums) { order[(int)sums[0]] = i; });
}

// Composes the maps x -> scale x + shift of slot j and all those before it
// (WAY -1) or after it (WAY 1), the nearest applied last. maps: (2, 2, N),
// filled in the first half, scale and then shift; returns the half with the
// result.
template <int WAY>
__device__ real *compose_maps(real *maps, int size) {
    real *from = maps, *to = maps + 2 * size;
    for (int distance = 1; distance < size; distance *= 2) {
        each(size, [&](int j) {
            real scale = from[j], shift = from[size + j];
            int k = j + WAY * distance;
            if (k >= 0 && k < size) {
                shift += scale * from[size + k];
                scale *= from[k];
            }
            to[j] = scale, to[size + j] = shift;
        });
        real *done = to;
        to = from, from = done;
    }
    return from;
}

// a[phi_j] = (1 - u[phi_j]) prod_{i<j} u[phi_i].
__device__ void allocation_forward(const Step &s) {
    each(s.slots, [&](int j) {
        s.maps[j] = s.usage[s.order[j]], s.maps[s.slots + j] = 0;
    });
    const real *product = compose_maps<-1>(s.maps, s.slots);
    each(s.slots, [&](int j) {
        int i = s.order[j];
        s.allocation[i] = (1 - s.usage[i]) * (j ? product[j - 1] : 1);
    });
}

// Adds to d_usage; passed (N,) is scratch.
__device__ void allocation_backward(const Step &s, const real *d_allocation,
                                    real *d_usage, real *passed) {
    // what the product before slot j receives from the slots from j on
    each(s.slots, [&](int j) {
        int i = s.order[j];
        s.maps[j] = s.usage[i];
        s.maps[s.slots + j] = d_allocation[i] * (1 - s.usage[i]);
    });
    const real *later = compose_maps<1>(s.maps, s.slots) + s.slots;
    each(s.slots, [&](int j) {
        passed[j] = j + 1 < s.slots ? later[j + 1] : 0;
    });
    each(s.slots, [&](int j) {
        s.maps[j] = s.usage[s.order[j]], s.maps[s.slots + j] = 0;
    });
    const real *product = compose_maps<-1>(s.maps, s.slots);
    each(s.slots, [&](int j) {
        int i = s.order[j];
        d_usage[i] +=
            (j ? product[j - 1] : 1) * (passed[j] - d_allocation[i]);
    });
}
