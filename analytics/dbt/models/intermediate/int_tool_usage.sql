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
        response.message_id,
        response.turn_number,
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
        call.result_size,
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
    left join {{ ref('int_messages_enriched') }} as response
        on response.natural_key = call.response_id and response.role = 'assistant'

),

file_calls as (

    select
        tool_use_id,
        {{ parse_file_input('tool_input') }} as asked
    from calls
    where tool_name in ('Read', 'Edit', 'MultiEdit', 'Write', 'NotebookEdit', 'NotebookRead')

),

files as (

    select
        tool_use_id,
        coalesce(asked.file_path, asked.notebook_path) as file_path,
        {{ list_length(text_lines('asked.content')) }} as written_lines
    from file_calls

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

-- What a call is about: the file of a file tool, the command of a shell, else all that was asked.
targets as (

    select
        calls.tool_use_id,
        md5(coalesce(
            files.file_path,
            case when calls.tool_name = 'Bash' then {{ json_text('calls.tool_input', "'$.command'") }} end,
            calls.tool_input
        )) as target
    from calls
    left join files on files.tool_use_id = calls.tool_use_id

),

-- Retries are not marked: a call counts as one where the same tool has failed on the same target, for the same agent in
-- the same turn, and has not succeeded since.
attempts as (

    select
        calls.tool_use_id,
        judged.is_success,
        count(case when judged.is_success then 1 end) over earlier as successes_before,
        calls.session_id,
        coalesce(calls.agent_id, '') as agent,
        calls.tool_name,
        calls.turn_number,
        targets.target,
        calls.timestamp,
        calls.source_file,
        calls.source_offset
    from calls
    inner join judged on judged.tool_use_id = calls.tool_use_id
    inner join targets on targets.tool_use_id = calls.tool_use_id
    window earlier as (
        partition by calls.session_id, calls.agent_id, calls.turn_number, calls.tool_name, targets.target
        order by calls.timestamp nulls last, calls.source_file, calls.source_offset, calls.tool_use_id
        rows between unbounded preceding and 1 preceding
    )

),

retries as (

    select
        tool_use_id,
        count(case when not is_success then 1 end) over (
            partition by session_id, agent, turn_number, tool_name, target, successes_before
            order by timestamp nulls last, source_file, source_offset, tool_use_id
            rows between unbounded preceding and 1 preceding
        ) as retry_count
    from attempts

),

operations as (

    select
        calls.tool_use_id,
        files.file_path,
        case
            when calls.tool_name in ('Read', 'NotebookRead') then 'read'
            when calls.tool_name <> 'Write' then 'edit'
            when calls.result_type = 'create' or calls.result_text like '%File created successfully%' then 'create'
            else 'overwrite'
        end as operation_type,
        files.written_lines
    from calls
    inner join files on files.tool_use_id = calls.tool_use_id

)

select
    calls.tool_use_id,
    calls.session_id,
    calls.response_id,
    calls.message_id,
    calls.turn_number,
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
    {{ byte_length('calls.tool_input') }} as input_size,
    calls.result_size as output_size,
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
