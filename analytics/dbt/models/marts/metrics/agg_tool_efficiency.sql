{{ config(materialized='table') }}

with calls as (

    select
        tool_key,
        count(*) as total_calls,
        count(is_success) as answered_calls,
        count(*) filter (where is_success) as successful_calls,
        count(*) filter (where not is_success) as failed_calls,
        count(*) filter (where is_rejected) as rejected_calls,
        count(*) filter (where is_success is null and not is_rejected) as unanswered_calls,
        avg(duration_ms) as avg_duration_ms,
        percentile_cont(0.5) within group (order by duration_ms) as p50_duration_ms,
        percentile_cont(0.95) within group (order by duration_ms) as p95_duration_ms,
        count(*) filter (where retry_count > 0) as retried_calls,
        sum(input_size) as input_size,
        sum(output_size) as output_size
    from {{ ref('fct_tool_calls') }}
    group by tool_key

)

select
    tool.tool_key,
    tool.tool_name,
    tool.tool_category,
    cast(calls.total_calls as bigint) as total_calls,
    cast(calls.answered_calls as bigint) as answered_calls,
    cast(calls.successful_calls as bigint) as successful_calls,
    cast(calls.failed_calls as bigint) as failed_calls,
    cast(calls.rejected_calls as bigint) as rejected_calls,
    cast(calls.unanswered_calls as bigint) as unanswered_calls,
    {{ percentage('calls.successful_calls', 'calls.answered_calls') }} as success_rate,
    cast(calls.avg_duration_ms as double) as avg_duration_ms,
    cast(calls.p50_duration_ms as double) as p50_duration_ms,
    cast(calls.p95_duration_ms as double) as p95_duration_ms,
    cast(calls.retried_calls as bigint) as retried_calls,
    {{ percentage('calls.retried_calls', 'calls.total_calls') }} as retry_rate,
    {{ percentage('calls.total_calls', 'sum(calls.total_calls) over ()') }} as share_of_calls,
    cast(coalesce(calls.input_size, 0) as bigint) as input_size,
    cast(coalesce(calls.output_size, 0) as bigint) as output_size
from calls
inner join {{ ref('dim_tools') }} as tool on tool.tool_key = calls.tool_key
