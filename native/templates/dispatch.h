/* dispatch.h - the functions of each type, written once for every instruction set.
 *
 * Needs floats.h, dot_blocks(type, reading, layout, panel, x, out) and unpack_blocks(type, layout, panels, column, n,
 * weights), which are made for constant types and ways of reading here.
 */

LC_INLINE void dot_type(const int32_t type, const lc_reading reading, const lc_panel_layout *layout,
                        const uint8_t *panel, const void *x, float *out)
{
    if (lc_is_float(type))
        dot_floats(type, reading, layout, panel, x, out);
    else
        dot_blocks(type, reading, layout, panel, x, out);
}

LC_INLINE void unpack_type(const int32_t type, const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR],
                           int64_t column, int64_t n, void *weights)
{
    if (lc_is_float(type))
        unpack_floats(type, layout, panels, column, n, weights);
    else
        unpack_blocks(type, layout, panels, column, n, weights);
}

#define DEFINE_DOT(name, type, reading)                                                                              \
    static void name(const lc_panel_layout *layout, const uint8_t *panel, const void *x, float *out)                 \
    {                                                                                                                \
        dot_type(type, reading, layout, panel, x, out);                                                              \
    }
#define DEFINE_TYPE(name, type)                                                                                      \
    DEFINE_DOT(dot_##name, type, LC_AGAIN)                                                                           \
    DEFINE_DOT(dot_##name##_once, type, LC_ONCE)                                                                     \
    static void unpack_##name(const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR], int64_t column,   \
                              int64_t n, void *weights)                                                              \
    {                                                                                                                \
        unpack_type(type, layout, panels, column, n, weights);                                                       \
    }
#define DOT_OF(name, type) case type: return reading == LC_ONCE ? dot_##name##_once : dot_##name;
#define UNPACK_OF(name, type) case type: return unpack_##name;

LC_FLOAT_TYPES(DEFINE_TYPE)
LC_BLOCK_TYPES(DEFINE_TYPE)

static lc_dot_kernel *dot(const lc_type_info *info, lc_reading reading)
{
    switch (info->type) {
        LC_FLOAT_TYPES(DOT_OF)
        LC_BLOCK_TYPES(DOT_OF)
    default: return NULL;
    }
}

static lc_unpack_kernel *unpack(const lc_type_info *info)
{
    switch (info->type) {
        LC_FLOAT_TYPES(UNPACK_OF)
        LC_BLOCK_TYPES(UNPACK_OF)
    default: return NULL;
    }
}

#undef DEFINE_DOT
#undef DEFINE_TYPE
#undef DOT_OF
#undef UNPACK_OF
