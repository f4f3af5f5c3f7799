{{ config(materialized='incremental', unique_key='tool_use_id', post_hook="{{ remove_stale_rows() }}") }}

with touched as (

    {{ touched_sessions() }}

),

calls as (

    select
        call.tool_use_id,
        call.session_id,
        call.line_id,
        call.response_id,
        call.tool_name,
        call.tool_input,
        call.seen_in,
        call.is_sidechain,
        call.agent_id,
        call.timestamp,
        call.result_timestamp,
        call.has_result,
        case when call.is_error then {{ error_class("coalesce(call.result_text, '')") }} end as error_class,
        coalesce(call.is_error, false) as is_error,
        call.result_text,
        call.patch_lines_added,
        call.patch_lines_removed,
        call.result_type,
        call.result_content_lines,
        call.spawned_agent_id,
        call.source_file,
        call.source_offset,
        touched.version
    from {{ ref('stg_tool_calls') }} as call
    inner join touched on touched.session_id = call.session_id

),

judged as (

    select
        calls.tool_use_id,
        coalesce(calls.error_class in ('user_rejected', 'interrupted'), false) as is_rejected,
        case
            when not calls.has_result or calls.error_class in ('user_rejected', 'interrupted') then null
            else not calls.is_error
        end as is_success
    from calls

),

-- Retries are not marked: a call counts as one where the same tool has just failed for the same agent.
attempts as (

    select
        calls.tool_use_id,
        judged.is_success,
        count(case when judged.is_success then 1 end) over earlier as successes_before,
        calls.session_id,
        coalesce(calls.agent_id, '') as agent,
        calls.tool_name,
        calls.timestamp,
        calls.source_file,
        calls.source_offset
    from calls
    inner join judged on judged.tool_use_id = calls.tool_use_id
    window earlier as (
        partition by calls.session_id, calls.agent_id, calls.tool_name
        order by calls.timestamp nulls last, calls.source_file, calls.source_offset, calls.tool_use_id
        rows between unbounded preceding and 1 preceding
    )

),

retries as (

    select
        tool_use_id,
        count(case when not is_success then 1 end) over (
            partition by session_id, agent, tool_name, successes_before
            order by timestamp nulls last, source_file, source_offset, tool_use_id
            rows between unbounded preceding and 1 preceding
        ) as retry_count
    from attempts

),

file_calls as (

    select
        tool_use_id,
        {{ parse_file_input('tool_input') }} as asked
    from calls
    where tool_name in ('Read', 'Edit', 'MultiEdit', 'Write', 'NotebookEdit', 'NotebookRead')

),

operations as (

    select
        calls.tool_use_id,
        coalesce(file_calls.asked.file_path, file_calls.asked.notebook_path) as file_path,
        case
            when calls.tool_name in ('Read', 'NotebookRead') then 'read'
            when calls.tool_name <> 'Write' then 'edit'
            when calls.result_type = 'create' or calls.result_text like '%File created successfully%' then 'create'
            else 'overwrite'
        end as operation_type,
        {{ list_length(text_lines('file_calls.asked.content')) }} as written_lines
    from calls
    inner join file_calls on file_calls.tool_use_id = calls.tool_use_id

)

select
    calls.tool_use_id,
    calls.session_id,
    calls.response_id,
    calls.tool_name,
    calls.seen_in,
    calls.is_sidechain,
    calls.agent_id,
    calls.spawned_agent_id,
    calls.timestamp,
    {{ date_key('calls.timestamp') }} as date_key,
    calls.has_result,
    judged.is_success,
    judged.is_rejected,
    calls.error_class,
    {{ epoch_millis('calls.result_timestamp') }} - {{ epoch_millis('calls.timestamp') }} as duration_ms,
    retries.retry_count,
    operations.file_path,
    operations.operation_type,
    case
        when not coalesce(judged.is_success, false) or operations.operation_type = 'read' then 0
        when operations.operation_type = 'create' then coalesce(calls.result_content_lines, operations.written_lines, 0)
        else coalesce(calls.patch_lines_added, diffs.lines_added, 0)
    end as lines_added,
    case
        when not coalesce(judged.is_success, false) or operations.operation_type in ('read', 'create') then 0
        else coalesce(calls.patch_lines_removed, diffs.lines_removed, 0)
    end as lines_removed,
    calls.version as _version
from calls
inner join judged on judged.tool_use_id = calls.tool_use_id
inner join retries on retries.tool_use_id = calls.tool_use_id
left join operations on operations.tool_use_id = calls.tool_use_id
left join {{ ref('int_line_diffs') }} as diffs on diffs.tool_use_id = calls.tool_use_id
