// Adds the output of a linear layer to the residual stream: out[t, i] = residual[t, i] + y[t, i]. The sum has the
// residual stream's number of fraction bits. One invocation computes one element.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
    fraction_bits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> residual: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(2) var<storage, read> y: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(3) var<storage, read_write> out: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(4) var<storage, read_write> flag: atomic<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let at = (group.y + params.first_group) * (params.width + 4u);
    let info = at + params.width;
    let column = group.x * 64u + local.x;
    if column == 0u {
        let unit = scale_power(-bitcast<i32>(params.fraction_bits));
        out[info] = bitcast<i32>(unit.mantissa);
        out[info + 1u] = unit.exponent;
        out[info + 2u] = 0i;
        out[info + 3u] = 0i;
    }
    if column >= params.width {
        return;
    }
    // The product y · mantissa below is < 2^62 in magnitude, as `shift_to_i32` requires.
    let shift = -(y[info + 1u] + bitcast<i32>(params.fraction_bits));
    let added = shift_to_i32(multiply_i32(y[at + column], y[info]), shift);
    let sum = saturate_64(add_64(extend_64(residual[at + column]), extend_64(added.value)));
    out[at + column] = sum.value;
    if added.saturated || sum.saturated {
        atomicMax(&flag, 1u);
    }
}
