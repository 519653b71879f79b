// Functions for kernels that compute gradients as sums over tokens: they transpose 4×4 matrices of bytes, compute inner
// products, and add sums to i64 gradients.

// Transposes a 4×4 matrix of bytes. Each word of the argument is a row, and each word of the result is a column.
fn transpose_bytes(rows: vec4<u32>) -> vec4<u32> {
    let low = (rows.xz & vec2(0x00ff00ffu)) | ((rows.yw & vec2(0x00ff00ffu)) << vec2(8u)); // columns 0 and 2
    let high = ((rows.xz >> vec2(8u)) & vec2(0x00ff00ffu)) | (rows.yw & vec2(0xff00ff00u)); // columns 1 and 3
    return vec4(
        (low.x & 0xffffu) | (low.y << 16u),
        (high.x & 0xffffu) | (high.y << 16u),
        (low.x >> 16u) | (low.y & 0xffff0000u),
        (high.x >> 16u) | (high.y & 0xffff0000u),
    );
}

// Returns the inner product of each of four columns with the same weights. Each column is a word of four int8 values,
// and so is `weights`.
fn dot_columns(columns: vec4<u32>, weights: u32) -> vec4<i32> {
    return vec4(
        dot4I8Packed(columns.x, weights),
        dot4I8Packed(columns.y, weights),
        dot4I8Packed(columns.z, weights),
        dot4I8Packed(columns.w, weights),
    );
}

// An i64 sum. `saturated` is true if the sum is outside −2^62..2^62, or if a summand other than 0 had to be shifted left
// by more than 28 bits.
struct Accumulated {
    value: vec2<u32>,
    saturated: bool,
}

// Returns before + sum · 2^shift, for |sum| ≤ 2^33. If `shift` is more than 28 and `sum` is not 0, the result counts as
// saturated.
fn accumulate_64(before: vec2<u32>, sum: vec2<u32>, shift: i32) -> Accumulated {
    let after = add_64(before, align_64(sum, min(shift, 28i)));
    let far = shift > 28i && (sum.x | sum.y) != 0u;
    let sign = after.y >> 30u;
    return Accumulated(after, far || sign == 1u || sign == 2u);
}
