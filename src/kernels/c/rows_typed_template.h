/* The leaves of struct typed_row_ops for one type; rows_template.h includes this once a type, and
 * defines
 *
 *     ELEMENT                 the C type of an element
 *     ELEMENT_LOAD(p)         VECTOR_LANES elements as a VECTOR of floats; aligned
 *     ELEMENT_STORE(p, v)     and back
 *     ELEMENT_STREAM(p, v)    the same past the caches; not defined where there is no such store
 *     ELEMENT_IS_FLOAT        1 or 0
 *     ELEMENT_IS_BYTE         the same; then there is a max_pool of its own
 *     ELEMENT_STORE_MEAN(p, v)  as ELEMENT_STORE, of means of elements
 *     TYPED(name)             the name of a function of this type
 */

static void TYPED(copy)(void *to, const float *sums, size_t count, bool relu)
{
    ELEMENT *out = to;
    size_t i = 0;
#if ELEMENT_IS_BYTE && defined(vector_store_u8_four)
    /* Clipping does ReLU's work. */
    for (; i + 4 * VECTOR_LANES <= count; i += 4 * VECTOR_LANES)
        vector_store_u8_four(out + i, sums + i);
#endif
    for (; i < count; i += VECTOR_LANES) {
        VECTOR x = vector_load(sums + i);
        ELEMENT_STORE(out + i, relu ? relu_of(x) : x);
    }
}

static void TYPED(copy_stream)(void *to, const float *sums, size_t count, bool relu)
{
#ifdef ELEMENT_STREAM
    ELEMENT *out = to;
    for (size_t i = 0; i < count; i += VECTOR_LANES) {
        VECTOR x = vector_load(sums + i);
        ELEMENT_STREAM(out + i, relu ? relu_of(x) : x);
    }
    vector_fence();
#else
    TYPED(copy)(to, sums, count, relu);
#endif
}

static void TYPED(max_pool_sums)(void *to, const float *top, const float *bottom, int pixels,
                                 bool relu)
{
    ELEMENT *out = to;
    for (int p = 0; p < pixels; p++, out += LANES, top += 2 * LANES, bottom += 2 * LANES) {
        for (int lane = 0; lane < LANES; lane += VECTOR_LANES) {
            VECTOR above = vector_max(vector_load(top + lane), vector_load(top + LANES + lane));
            VECTOR below =
                vector_max(vector_load(bottom + lane), vector_load(bottom + LANES + lane));
            VECTOR most = vector_max(above, below);
            ELEMENT_STORE(out + lane, relu ? relu_of(most) : most);
        }
    }
}

#if !ELEMENT_IS_BYTE
static void TYPED(max_pool)(void *to, const void *top_row, const void *bottom_row, int pixels)
{
    ELEMENT *out = to;
    const ELEMENT *top = top_row, *bottom = bottom_row;
    for (int p = 0; p < pixels; p++, out += LANES, top += 2 * LANES, bottom += 2 * LANES) {
        for (int lane = 0; lane < LANES; lane += VECTOR_LANES) {
            VECTOR above = vector_max(ELEMENT_LOAD(top + lane), ELEMENT_LOAD(top + LANES + lane));
            VECTOR below =
                vector_max(ELEMENT_LOAD(bottom + lane), ELEMENT_LOAD(bottom + LANES + lane));
            ELEMENT_STORE(out + lane, vector_max(above, below));
        }
    }
}
#endif

static inline VECTOR TYPED(between)(VECTOR near, const ELEMENT *a, VECTOR far, const ELEMENT *b)
{
    return vector_fma(near, ELEMENT_LOAD(a), vector_mul(far, ELEMENT_LOAD(b)));
}

/* Along the row first, then between the rows: PyTorch's order. */
static void TYPED(upsample)(void *to, const struct upsample_rows *rows,
                            const struct upsample_column *columns, int pixels)
{
    ELEMENT *out = to;
    VECTOR upper = vector_broadcast(rows->near), lower = vector_broadcast(rows->far);
    for (int p = 0; p < pixels; p++, out += LANES, columns++) {
        VECTOR near = vector_broadcast(columns->near), far = vector_broadcast(columns->far);
        const ELEMENT *top = (const ELEMENT *)rows->top + columns->left;
        const ELEMENT *bottom = (const ELEMENT *)rows->bottom + columns->left;
        for (int lane = 0; lane < LANES; lane += VECTOR_LANES) {
            VECTOR above = TYPED(between)(near, top + lane, far, top + columns->step + lane);
            VECTOR below = TYPED(between)(near, bottom + lane, far, bottom + columns->step + lane);
            ELEMENT_STORE_MEAN(out + lane, vector_fma(upper, above, vector_mul(lower, below)));
        }
    }
}

static void TYPED(interleave)(void *to, const float *even, const float *odd, int pixels)
{
    ELEMENT *out = to;
    for (int p = 0; p < pixels; p++, out += 2 * LANES, even += LANES, odd += LANES) {
        for (int lane = 0; lane < LANES; lane += VECTOR_LANES) {
            ELEMENT_STORE(out + lane, vector_load(even + lane));
            ELEMENT_STORE(out + LANES + lane, vector_load(odd + lane));
        }
    }
}

static void TYPED(from_planes)(void *to, const float *planes, size_t plane_stride, int channels,
                               int pixels)
{
    ELEMENT *out = to;
    _Alignas(64) float rows[LANES * LANES] = {0}, turned[LANES * LANES];
    for (int p = 0; p < pixels; p += LANES, out += LANES * LANES) {
        int count = pixels - p < LANES ? pixels - p : LANES;
        for (int c = 0; c < channels; c++)
            copy_floats(rows + c * LANES, planes + (size_t)c * plane_stride + p, count);
        float *to_whole = ELEMENT_IS_FLOAT && count == LANES ? (float *)(void *)out : turned;
        transpose16(to_whole, rows, LANES);
        if (to_whole == turned)
            TYPED(copy)(out, turned, (size_t)count * LANES, false);
    }
}

static void TYPED(to_planes)(float *planes, size_t plane_stride, const void *from, int channels,
                             int pixels)
{
    const ELEMENT *in = from;
    _Alignas(64) float rows[LANES * LANES] = {0}, turned[LANES * LANES];
    for (int p = 0; p < pixels; p += LANES, in += LANES * LANES) {
        int count = pixels - p < LANES ? pixels - p : LANES;
        for (int i = 0; i < count * LANES; i += VECTOR_LANES)
            vector_store(rows + i, ELEMENT_LOAD(in + i));
        transpose16(turned, rows, LANES);
        for (int c = 0; c < channels; c++)
            copy_floats(planes + (size_t)c * plane_stride + p, turned + c * LANES, count);
    }
}

/* Compilers unroll it where `step` and `channels` are constants. */
static inline void TYPED(look_up)(float *to, const struct pixel_row *row, int p, int count,
                                  int step, int channels)
{
    const uint8_t *bytes = row->bytes + (size_t)p * (size_t)step;
    for (int i = 0; i < count; i++, to += LANES, bytes += step) {
        for (int lane = 0; lane < LANES; lane += VECTOR_LANES)
            vector_store(to + lane, vector_broadcast(0.0f));
        for (int c = 0; c < channels; c++)
            to[c] = row->values[c * 256 + bytes[step == 1 ? 0 : c]];
    }
}

static void TYPED(from_pixels)(void *to, const struct pixel_row *row, int pixels)
{
    ELEMENT *out = to;
    _Alignas(64) float block[LANES * LANES];
    for (int p = 0; p < pixels; p += LANES, out += LANES * LANES) {
        int count = pixels - p < LANES ? pixels - p : LANES;
        float *floats = ELEMENT_IS_FLOAT ? (float *)(void *)out : block;
        if (row->step == 3 && row->channels == 3)
            TYPED(look_up)(floats, row, p, count, 3, 3);
        else if (row->step == 1 && row->channels == 1)
            TYPED(look_up)(floats, row, p, count, 1, 1);
        else
            TYPED(look_up)(floats, row, p, count, row->step, row->channels);
        if (!ELEMENT_IS_FLOAT)
            TYPED(copy)(out, block, (size_t)count * LANES, false);
    }
}

static void TYPED(to_mask)(const struct mask_row *row, int pixels)
{
    _Alignas(64) float rows[LANES * LANES] = {0}, turned[LANES * LANES];
    struct best best;
    for (int p = 0; p < pixels; p += LANES) {
        int count = pixels - p < LANES ? pixels - p : LANES;
        for (int c = 0; c < row->classes; c += LANES) {
            const ELEMENT *in = row->in;
            in += (size_t)(c / LANES) * row->block_stride + (size_t)p * LANES;
            for (int i = 0; i < count * LANES; i += VECTOR_LANES)
                vector_store(rows + i, ELEMENT_LOAD(in + i));
            transpose16(turned, rows, LANES);
            int left = row->classes - c;
            pick_best(&best, turned, c, left < LANES ? left : LANES, row->classes, row->to.above);
        }
        store_best(&best, row->to.classes + p, count);
    }
}
