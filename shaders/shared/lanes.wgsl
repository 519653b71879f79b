// Reductions over the lanes of a workgroup: the invocations that together compute one row or one attention head.
// All lanes must call these functions. Each lane passes its own value, and all lanes get the same result.
// The functions use little workgroup memory, because zeroing it takes time: browsers zero it for each workgroup, and
// software GPUs for each invocation.

// The number of lanes that together compute a row. It is the kernel's @workgroup_size.
const LANES = 256u;
// The number of lanes that together compute an attention head. It is the kernel's @workgroup_size.
const HEAD_LANES = 128u;
// The number of lanes in the first step of a reduction of 128 values: each of these lanes reduces 8 values to one. In
// the second step, every lane reduces the 16 results. (256 values are first reduced to 128, in pairs.)
const LANE_GROUPS = 16u;

var<workgroup> lanes: array<vec4<u32>, HEAD_LANES>;
var<workgroup> lane_groups: array<vec4<u32>, LANE_GROUPS>;
var<workgroup> head_lanes: array<vec2<u32>, HEAD_LANES>;
var<workgroup> head_groups: array<vec2<u32>, LANE_GROUPS>;

// Returns the element-wise maximum of two pairs of unsigned 64-bit integers. A vec4 is a pair: (low, high, low, high).
fn max_pair(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4(max_64(a.xy, b.xy), max_64(a.zw, b.zw));
}

// Returns the element-wise sum, mod 2^64, of two pairs of 64-bit integers. A vec4 is a pair: (low, high, low, high).
fn add_pair(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4(add_64(a.xy, b.xy), add_64(a.zw, b.zw));
}

// Each lane of a row passes a pair of unsigned 64-bit integers. Returns the element-wise maximum of all pairs. The next
// reduction can follow without a barrier, because no lane reads the workgroup array `lanes` after the last barrier of
// this function.
fn row_max(lane: u32, pair: vec4<u32>) -> vec4<u32> {
    if lane >= HEAD_LANES {
        lanes[lane - HEAD_LANES] = pair;
    }
    workgroupBarrier();
    if lane < HEAD_LANES {
        lanes[lane] = max_pair(lanes[lane], pair);
    }
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var best = lanes[lane];
        for (var i = lane + LANE_GROUPS; i < HEAD_LANES; i += LANE_GROUPS) {
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

// Each lane of a row passes a pair of 64-bit integers. Returns the element-wise sum, mod 2^64, of all pairs. The next
// reduction can follow without a barrier.
fn row_sum(lane: u32, pair: vec4<u32>) -> vec4<u32> {
    if lane >= HEAD_LANES {
        lanes[lane - HEAD_LANES] = pair;
    }
    workgroupBarrier();
    if lane < HEAD_LANES {
        lanes[lane] = add_pair(lanes[lane], pair);
    }
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var sum = lanes[lane];
        for (var i = lane + LANE_GROUPS; i < HEAD_LANES; i += LANE_GROUPS) {
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

// Each lane of an attention head passes a signed value. Returns the largest of these values. The lanes compare unsigned
// integers: with the sign bit flipped, signed values have the same order as unsigned integers.
fn head_max(lane: u32, value: i32) -> i32 {
    let biased = bitcast<u32>(value) ^ 0x80000000u;
    head_lanes[lane] = vec2(biased, 0u);
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var best = biased;
        for (var i = lane + LANE_GROUPS; i < HEAD_LANES; i += LANE_GROUPS) {
            best = max(best, head_lanes[i].x);
        }
        head_groups[lane] = vec2(best, 0u);
    }
    workgroupBarrier();
    var best = head_groups[0].x;
    for (var i = 1u; i < LANE_GROUPS; i++) {
        best = max(best, head_groups[i].x);
    }
    return bitcast<i32>(best ^ 0x80000000u);
}

// Each lane of an attention head passes a 64-bit integer. Returns the sum, mod 2^64, of these integers.
fn head_sum(lane: u32, value: vec2<u32>) -> vec2<u32> {
    head_lanes[lane] = value;
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var sum = value;
        for (var i = lane + LANE_GROUPS; i < HEAD_LANES; i += LANE_GROUPS) {
            sum = add_64(sum, head_lanes[i]);
        }
        head_groups[lane] = sum;
    }
    workgroupBarrier();
    var sum = head_groups[0];
    for (var i = 1u; i < LANE_GROUPS; i++) {
        sum = add_64(sum, head_groups[i]);
    }
    return sum;
}

// Each lane passes a value. Returns the component-wise maximum of the values of one block: the 32 consecutive lanes to
// which `lane` belongs.
fn block_max(lane: u32, value: vec2<u32>) -> vec2<u32> {
    head_lanes[lane] = value;
    workgroupBarrier();
    let first = lane & 0xe0u;
    var largest = head_lanes[first];
    for (var i = 1u; i < 32u; i++) {
        largest = max(largest, head_lanes[first + i]);
    }
    workgroupBarrier();
    return largest;
}
