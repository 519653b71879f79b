// heads = rotate(y): rotary position embedding, then head rows for attention.
// One workgroup: one head of one token. One invocation: four features at a time.

struct Params {
    first_group: u32,
    tokens: u32,
    heads: u32,
    head_dim: u32,
    position_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<i32>; // [tokens, heads · head_dim + 4] i32 rows
@group(0) @binding(2) var<storage, read> positions: array<u32>; // [tokens]
@group(0) @binding(3) var<storage, read> table: array<i32>; // [positions, head_dim / 2, 2] Q30
@group(0) @binding(4) var<storage, read_write> out: array<u32>; // [tokens, heads] head rows

// Feature c of the head at y[start], in units of 2 · the row's exponent; |.| < 2^62.
fn turned(start: u32, angles: u32, mantissa: u32, c: u32) -> vec2<u32> {
    let half = params.head_dim >> 1u;
    let second = c >= half;
    let i = select(c, c - half, second);
    let cos = table[angles + (i << 1u)];
    let sin = table[angles + (i << 1u) + 1u];
    let a = multiply_i32(y[start + i], select(cos, sin, second));
    let b = multiply_i32(y[start + half + i], select(-sin, cos, second));
    return multiply_64(round_even_64(add_64(a, b), 31u), mantissa);
}

// Feature c / 2^shift, 0 in the padding.
fn rounded(start: u32, angles: u32, mantissa: u32, c: u32, shift: u32) -> i32 {
    if c >= params.head_dim {
        return 0i;
    }
    return bitcast<i32>(round_even_64(turned(start, angles, mantissa, c), shift).x);
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let width = params.heads * params.head_dim;
    let row = token * (width + 4u);
    let start = row + group.x * params.head_dim;
    let mantissa = bitcast<u32>(y[row + width]);
    let angles = positions[token] * params.position_stride * params.head_dim;

    var bits = 0u;
    for (var c = local.x; c < params.head_dim; c += HEAD_LANES) {
        bits = max(bits, bits_64(magnitude_64(turned(start, angles, mantissa, c))));
    }
    bits = bitcast<u32>(head_max(local.x, bitcast<i32>(bits)));
    let shift = shift_of(bits, WIDE_BITS);

    let words = row_words(params.head_dim);
    let at = (token * params.heads + group.x) * ((words << 1u) + 4u);
    for (var word = local.x; word < words; word += HEAD_LANES) {
        let c = word << 2u;
        let values = vec4(
            rounded(start, angles, mantissa, c, shift),
            rounded(start, angles, mantissa, c + 1u, shift),
            rounded(start, angles, mantissa, c + 2u, shift),
            rounded(start, angles, mantissa, c + 3u, shift),
        );
        out[at + word] = wide_high(values);
        out[at + words + word] = wide_low(values);
    }
    if local.x == 0u {
        let exponent = select(y[row + width + 1u] + 1i + bitcast<i32>(shift), ZERO_EXPONENT, bits == 0u);
        let end = at + (words << 1u);
        out[end] = bitcast<u32>(exponent);
        out[end + 1u] = 0u;
        out[end + 2u] = 0u;
        out[end + 3u] = 0u;
    }
}
