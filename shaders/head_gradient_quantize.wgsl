// heads = dither_round(gradient): the gradient of attention's output as head rows.
// One workgroup: one head of one token. One invocation: four features at a time.

struct Params {
    first_group: u32,
    tokens: u32,
    heads: u32,
    head_dim: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<i32>; // [tokens, heads · head_dim + 4] i32 rows
@group(0) @binding(2) var<storage, read> dither: array<u32>; // first token, 0, keys of streams
@group(0) @binding(3) var<storage, read_write> out: array<u32>; // [tokens, heads] head rows

// Feature c of the head at gradient[start], as shift drops bits of it; 0 in the padding.
fn rounded(start: u32, mantissa: u32, c: u32, shift: u32, bits: u32) -> i32 {
    if c >= params.head_dim {
        return 0i;
    }
    return bitcast<i32>(round_dither_64(multiply_64(extend_64(gradient[start + c]), mantissa), shift, bits).x);
}

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let width = params.heads * params.head_dim;
    let row = token * (width + 4u);
    let start = row + group.x * params.head_dim;
    let mantissa = bitcast<u32>(gradient[row + width]);

    var bits = 0u;
    for (var c = local.x; c < params.head_dim; c += HEAD_LANES) {
        bits = max(bits, bits_64(multiply_64(magnitude_64(extend_64(gradient[start + c])), mantissa)));
    }
    bits = bitcast<u32>(head_max(local.x, bitcast<i32>(bits)));
    let shift = shift_of(bits, WIDE_BITS);

    let key = vec2(dither[2u + (params.stream << 1u)], dither[3u + (params.stream << 1u)]);
    let index = (dither[0] + token) * params.heads + group.x;
    let words = row_words(params.head_dim);
    let at = (token * params.heads + group.x) * ((words << 1u) + 4u);
    for (var word = local.x; word < words; word += HEAD_LANES) {
        let c = word << 2u;
        let dithers = dither_word(key, index, word);
        let values = vec4(
            rounded(start, mantissa, c, shift, dithers.x),
            rounded(start, mantissa, c + 1u, shift, dithers.y),
            rounded(start, mantissa, c + 2u, shift, dithers.z),
            rounded(start, mantissa, c + 3u, shift, dithers.w),
        );
        out[at + word] = wide_high(values);
        out[at + words + word] = wide_low(values);
    }
    if local.x == 0u {
        let exponent = select(gradient[row + width + 1u] + bitcast<i32>(shift), ZERO_EXPONENT, bits == 0u);
        let end = at + (words << 1u);
        out[end] = bitcast<u32>(exponent);
        out[end + 1u] = 0u;
        out[end + 2u] = 0u;
        out[end + 3u] = 0u;
    }
}
