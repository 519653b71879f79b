// Rows, and the workgroup of 256 invocations that computes one; see src/kernels/shared/{rows,wide}.rs.

// Invocations of a workgroup that computes a row: the kernel's @workgroup_size.
const LANES = 256u;
// Each sums or compares 16 of the 256.
const LANE_GROUPS = 16u;
// Exponent of an all-zero row: below every real one.
const ZERO_EXPONENT = -1024i;

var<workgroup> lanes: array<vec4<u32>, LANES>;
var<workgroup> lane_groups: array<vec4<u32>, LANE_GROUPS>;

// Two 64-bit integers as one vec4: the larger of each, unsigned.
fn max_pair(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4(max_64(a.xy, b.xy), max_64(a.zw, b.zw));
}

// The sum of each mod 2^64.
fn add_pair(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4(add_64(a.xy, b.xy), add_64(a.zw, b.zw));
}

// The largest over the workgroup of two magnitudes; all invocations call it.
fn row_max(lane: u32, pair: vec4<u32>) -> vec4<u32> {
    lanes[lane] = pair;
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var best = lanes[lane];
        for (var i = lane + LANE_GROUPS; i < LANES; i += LANE_GROUPS) {
            best = max_pair(best, lanes[i]);
        }
        lane_groups[lane] = best;
    }
    workgroupBarrier();
    var best = lane_groups[0];
    for (var i = 1u; i < LANE_GROUPS; i++) {
        best = max_pair(best, lane_groups[i]);
    }
    return best;
}

// The sums over the workgroup, mod 2^64, of two integers; all invocations call it.
fn row_sum(lane: u32, pair: vec4<u32>) -> vec4<u32> {
    lanes[lane] = pair;
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var sum = lanes[lane];
        for (var i = lane + LANE_GROUPS; i < LANES; i += LANE_GROUPS) {
            sum = add_pair(sum, lanes[i]);
        }
        lane_groups[lane] = sum;
    }
    workgroupBarrier();
    var sum = lane_groups[0];
    for (var i = 1u; i < LANE_GROUPS; i++) {
        sum = add_pair(sum, lane_groups[i]);
    }
    return sum;
}

// |value| as a 64-bit integer.
fn magnitude_i32(value: i32) -> vec2<u32> {
    return vec2(bitcast<u32>(abs(value)), 0u);
}

// Four values of magnitude ≤ 2^14 as a word of a wide row's plane 0, worth 256 each.
fn wide_high(values: vec4<i32>) -> u32 {
    return pack4xI8((values + 128i) >> vec4(8u));
}

// The same as a word of plane 1, worth 1 each.
fn wide_low(values: vec4<i32>) -> u32 {
    return pack4xI8(values);
}

// Sum of four.
fn sum_of(values: vec4<i32>) -> i32 {
    return values.x + values.y + values.z + values.w;
}

// 2^16 · high + 2^8 · middle + low: the inner product of wide rows from those of their planes.
fn join_planes(high: i32, middle: i32, low: i32) -> vec2<u32> {
    let upper = add_64(shift_left_64(extend_64(high), 16u), shift_left_64(extend_64(middle), 8u));
    return add_64(upper, extend_64(low));
}

// The exponent of a scale, for comparing; 0 is below every other.
fn exponent_of(scale: Scale) -> i32 {
    return select(scale.exponent, ZERO_EXPONENT, scale.mantissa == 0u);
}

// top − exponent as a right shift of 0..=63.
fn distance_to(top: i32, exponent: i32) -> u32 {
    return bitcast<u32>(clamp(top - exponent, 0i, 63i));
}
