// The LSTM cell, and the way of h and r from step to step: element by element.
//
// z, d_z: per layer its (T + 1, B, reads + size) or, above the first layer,
// (T + 1, B, reads + 2 size) and the same without T + 1. units: all layers'
// outputs side by side. Each kernel has a thread per number.

#define ELEMENT                                                    \
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;     \
    int b = (int)(at / width), k = (int)(at % width);              \
    if (b >= batch) return;

#define MAP extern "C" __global__ void

__device__ inline int seen(int layer, int reads, int size) {
    return reads + (layer ? 2 * size : size);
}

// gates (B, 4 H) come in as the share of the input and the bias, sums (B, 4 H)
// is the rest; the activated gates stay. h goes to h_all and out, and to the
// layer above.
MAP dnc_cell_forward(const real *sums, real *gates, const real *c, real *new_c,
                     const bool *fresh, real *const *z, real *h_all, real *out,
                     int batch, int width, int layer, int layers, int reads,
                     int t) {
    ELEMENT
    size_t row = (size_t)b * 4 * width + k;
    real x[4];
    for (int g = 0; g < 4; ++g)
        x[g] = gates[row + g * width] + sums[row + g * width];
    for (int g = 0; g < 3; ++g) x[g] = sigmoid(x[g]);
    x[3] = tanh(x[3]);
    for (int g = 0; g < 4; ++g) gates[row + g * width] = x[g];
    real cell = x[0] * x[3] + (fresh[b] ? 0 : x[1] * c[at]);
    real h = x[2] * tanh(cell);
    int units = layers * width, unit = layer * width + k;
    new_c[at] = cell;
    h_all[(size_t)b * units + unit] = h;
    out[(size_t)b * (units + reads) + unit] = h;
    if (layer + 1 < layers)
        z[layer + 1][((size_t)t * batch + b) * (reads + 2 * width) + reads +
                     width + k] = h;
}

// gates turn from activations into their gradients before activation; d_c
// goes from the cell after the step to the one before it. d_h (B, units): what
// came through the interface; more comes from the output, the step after (but
// not into a lane that is fresh there) and the layer above.
MAP dnc_cell_backward(real *gates, const real *c, const real *new_c, real *d_c,
                      const real *d_h, const real *g_out, real *const *d_z,
                      const bool *fresh, const bool *next_fresh, int batch,
                      int width, int layer, int layers, int reads) {
    ELEMENT
    int units = layers * width, unit = layer * width + k;
    real dh = d_h[(size_t)b * units + unit] +
              g_out[(size_t)b * (units + reads) + unit];
    if (!next_fresh[b])
        dh += d_z[layer][(size_t)b * seen(layer, reads, width) + reads + k];
    if (layer + 1 < layers)
        dh += d_z[layer + 1][(size_t)b * (reads + 2 * width) + reads + width +
                             k];
    size_t row = (size_t)b * 4 * width + k;
    real i = gates[row], f = gates[row + width];
    real o = gates[row + 2 * width], g = gates[row + 3 * width];
    real before = fresh[b] ? 0 : c[at], squashed = tanh(new_c[at]);
    real dc = d_c[at] + dh * o * (1 - squashed * squashed);
    gates[row] = dc * g * i * (1 - i);
    gates[row + width] = dc * before * f * (1 - f);
    gates[row + 2 * width] = dh * squashed * o * (1 - o);
    gates[row + 3 * width] = dc * i * (1 - g * g);
    d_c[at] = fresh[b] ? 0 : dc * f;
}

// What step t sees of the step before: z[t] of every layer gets its h and the
// read vectors, zero in fresh lanes; out, if it is there, the read vectors.
// width: reads and units.
MAP dnc_remember(const real *h, const real *read_vectors, real *out,
                 real *const *z, const bool *fresh, int batch, int width,
                 int layers, int reads, int t, bool write_out) {
    ELEMENT
    int units = width - reads, size = units / layers;
    real x = k < reads ? read_vectors[(size_t)b * reads + k]
                       : h[(size_t)b * units + k - reads];
    if (write_out && k < reads) out[(size_t)b * width + units + k] = x;
    if (fresh[b]) x = 0;
    size_t row = (size_t)t * batch + b;
    for (int layer = 0; k < reads && layer < layers; ++layer)
        z[layer][row * seen(layer, reads, size) + k] = x;
    if (k >= reads) {
        int layer = (k - reads) / size;
        z[layer][row * seen(layer, reads, size) + reads + (k - reads) % size] =
            x;
    }
}

// Gradient of the read vectors of a step: from the output and from the layers
// of the step after it.
MAP dnc_collect(const real *g_out, real *const *d_z, const bool *next_fresh,
                real *d_reads, int batch, int width, int units, int layers) {
    ELEMENT
    real d = g_out[(size_t)b * (units + width) + units + k];
    for (int layer = 0; !next_fresh[b] && layer < layers; ++layer)
        d += d_z[layer][(size_t)b * seen(layer, width, units / layers) + k];
    d_reads[at] = d;
}
