// The feed-forward nonlinearity: out = relu(gate)² · up. The values of each row of `gate` and `up` are first rounded to
// 14 bits. Then each product of the rounded values is divided by 2^12 and rounded. One workgroup computes one row.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(2) var<storage, read> up: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(3) var<storage, read_write> out: array<i32>; // [tokens, width + 4] i32 rows

@compute @workgroup_size(row_lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let lane = local.x;
    let at = (group.y + params.first_group) * (params.width + 4u);
    let info = at + params.width;

    var best = vec4(0u);
    for (var column = lane; column < params.width; column += row_lanes) {
        best = max_pair(best, vec4(magnitude_i32(max(gate[at + column], 0i)), magnitude_i32(up[at + column])));
    }
    best = row_max(lane, best);
    let gate_shift = shift_for(best.xy, WIDE_BITS);
    let up_shift = shift_for(best.zw, WIDE_BITS);

    for (var column = lane; column < params.width; column += row_lanes) {
        let g = round_even_i32(max(gate[at + column], 0i), gate_shift);
        let product = multiply_i32(g * g, round_even_i32(up[at + column], up_shift));
        out[at + column] = bitcast<i32>(round_even_64(product, 12u).x);
    }

    if lane == 0u {
        let gate_scale = Scale(bitcast<u32>(gate[info]), gate[info + 1u]);
        let up_scale = Scale(bitcast<u32>(up[info]), up[info + 1u]);
        let product = scale_multiply(scale_multiply(gate_scale, gate_scale), up_scale);
        let unit = scale_shift(product, bitcast<i32>(2u * gate_shift + up_shift + 12u));
        out[info] = bitcast<i32>(unit.mantissa);
        out[info + 1u] = unit.exponent;
        out[info + 2u] = 0i;
        out[info + 3u] = 0i;
    }
}
