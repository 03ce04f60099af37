#define TYPE_MAXIMUM(type) ((type)((1UL << (8 * sizeof(type) - 1)) - 1))
