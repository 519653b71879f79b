// Reductions over the lanes of a workgroup: the invocations that together compute one row or one attention head.
// All lanes must call these functions. Each lane passes its own value, and all lanes get the same result.
// The functions use little workgroup memory, because zeroing it takes time: browsers zero it for each workgroup, and
// software GPUs for each invocation.

// The number of lanes that together compute a row, and of those that together compute an attention head. Each is the
// @workgroup_size of the kernels that use it. On a hardware GPU, the lanes work at the same time. A software GPU switches
// between groups of 4 or 8 lanes at every barrier, which takes longer than what the lanes compute between two barriers.
override row_lanes: u32 = 256u;
override head_lanes: u32 = 32u;
// The number of lanes in the second step of a reduction of a row. Each of them reduces a part of the values to one. In the
// third step, one lane reduces the results.
const LANE_GROUPS = 8u;

var<workgroup> lanes: array<vec4<u32>, row_lanes>;
var<workgroup> lane_groups: array<vec4<u32>, LANE_GROUPS>;
var<workgroup> head_values: array<vec2<u32>, head_lanes>;
// The results for each block of 8 lanes of an attention head; element 0 is the result for all lanes.
var<workgroup> head_results: array<vec2<u32>, 4>;

// Returns the element-wise maximum of two pairs of unsigned 64-bit integers. A vec4 is a pair: (low, high, low, high).
fn max_pair(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4(max_64(a.xy, b.xy), max_64(a.zw, b.zw));
}

// Returns the element-wise sum, mod 2^64, of two pairs of 64-bit integers. A vec4 is a pair: (low, high, low, high).
fn add_pair(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return vec4(add_64(a.xy, b.xy), add_64(a.zw, b.zw));
}

// Each lane of a row passes a pair of unsigned 64-bit integers. Returns the element-wise maximum of all pairs. The next
// reduction can follow without a barrier, because no lane reads the workgroup array `lanes` after the second barrier of
// this function.
fn row_max(lane: u32, pair: vec4<u32>) -> vec4<u32> {
    lanes[lane] = pair;
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var best = pair;
        for (var i = lane + LANE_GROUPS; i < row_lanes; i += LANE_GROUPS) {
            best = max_pair(best, lanes[i]);
        }
        lane_groups[lane] = best;
    }
    workgroupBarrier();
    if lane == 0u {
        var best = lane_groups[0];
        for (var i = 1u; i < LANE_GROUPS; i++) {
            best = max_pair(best, lane_groups[i]);
        }
        lane_groups[0] = best;
    }
    workgroupBarrier();
    return lane_groups[0];
}

// Each lane of a row passes a pair of 64-bit integers. Returns the element-wise sum, mod 2^64, of all pairs. The next
// reduction can follow without a barrier.
fn row_sum(lane: u32, pair: vec4<u32>) -> vec4<u32> {
    lanes[lane] = pair;
    workgroupBarrier();
    if lane < LANE_GROUPS {
        var sum = pair;
        for (var i = lane + LANE_GROUPS; i < row_lanes; i += LANE_GROUPS) {
            sum = add_pair(sum, lanes[i]);
        }
        lane_groups[lane] = sum;
    }
    workgroupBarrier();
    if lane == 0u {
        var sum = lane_groups[0];
        for (var i = 1u; i < LANE_GROUPS; i++) {
            sum = add_pair(sum, lane_groups[i]);
        }
        lane_groups[0] = sum;
    }
    workgroupBarrier();
    return lane_groups[0];
}

// Each lane of an attention head passes a signed value. Returns the largest of these values. The lanes compare unsigned
// integers: with the sign bit flipped, signed values have the same order as unsigned integers.
fn head_max(lane: u32, value: i32) -> i32 {
    head_values[lane] = vec2(bitcast<u32>(value) ^ 0x80000000u, 0u);
    workgroupBarrier();
    if lane == 0u {
        var best = head_values[0].x;
        for (var i = 1u; i < head_lanes; i++) {
            best = max(best, head_values[i].x);
        }
        head_results[0].x = best;
    }
    workgroupBarrier();
    return bitcast<i32>(head_results[0].x ^ 0x80000000u);
}

// Each lane of an attention head passes a 64-bit integer. Returns the sum, mod 2^64, of these integers.
fn head_sum(lane: u32, value: vec2<u32>) -> vec2<u32> {
    head_values[lane] = value;
    workgroupBarrier();
    if lane == 0u {
        var sum = value;
        for (var i = 1u; i < head_lanes; i++) {
            sum = add_64(sum, head_values[i]);
        }
        head_results[0] = sum;
    }
    workgroupBarrier();
    return head_results[0];
}

// Each lane passes a value. Returns the component-wise maximum of the values of one block: the 8 consecutive lanes to
// which `lane` belongs. Each of these lanes processes 4 of the 32 elements of the block.
fn block_max(lane: u32, value: vec2<u32>) -> vec2<u32> {
    head_values[lane] = value;
    workgroupBarrier();
    if (lane & 7u) == 0u {
        var largest = value;
        for (var i = lane + 1u; i < lane + 8u; i++) {
            largest = max(largest, head_values[i]);
        }
        head_results[lane >> 3u] = largest;
    }
    workgroupBarrier();
    return head_results[lane >> 3u];
}
