{{ config(materialized='incremental', unique_key='session_id', post_hook="{{ remove_stale_rows() }}") }}

{#- A pause longer than this is not work: five minutes. -#}
{% set longest_pause_ms = 300000 %}
{#- Stands for a timestamp that is missing, beyond any that is not. -#}
{% set end_of_time = 1000000000000000 %}

with touched as (

    {{ touched_sessions() }}

),

-- A session that holds nothing but copies of another is still one; its copies then stand in for its records.
records as (

    select
        entry.session_id,
        entry.uuid,
        entry.timestamp,
        entry.source_file,
        entry.source_offset,
        {{ line_id('entry') }} as line_id,
        nullif(entry.project_path, '') as project_path,
        nullif(entry.git_branch, '') as git_branch,
        entry.machine,
        entry.user_name,
        entry.version,
        copies.line_id is not null as is_copy,
        {{ ordering([
            'copies.line_id is not null', 'coalesce(' ~ epoch_millis('entry.timestamp') ~ ', ' ~ end_of_time ~ ')',
            'entry.source_file', 'entry.source_offset', 'entry.record_id'
        ]) }} as from_first,
        {{ ordering([
            'copies.line_id is null', 'coalesce(' ~ epoch_millis('entry.timestamp') ~ ', -' ~ end_of_time ~ ')',
            'entry.source_file', 'entry.source_offset', 'entry.record_id'
        ]) }} as from_last
    from {{ ref('stg_conversations') }} as entry
    inner join touched on touched.session_id = entry.session_id
    left join {{ ref('stg_line_copies') }} as copies on copies.line_id = {{ line_id('entry') }}
    where entry.block_index = 0
        and not entry.is_deleted

),

spans as (

    select
        session_id,
        coalesce(min(timestamp) filter (where not is_copy), min(timestamp)) as start_time,
        coalesce(max(timestamp) filter (where not is_copy), max(timestamp)) as end_time,
        min_by(project_path, from_first) filter (where project_path is not null) as first_folder,
        min_by(machine, from_first) filter (where machine is not null) as machine,
        min_by(user_name, from_first) filter (where user_name is not null) as user_name,
        max_by(git_branch, from_last) filter (where git_branch is not null) as git_branch,
        count(*) filter (where not is_copy) as record_count,
        count(*) filter (where is_copy) as copied_record_count
    from records
    group by session_id

),

pauses as (

    select
        session_id,
        {{ epoch_millis('timestamp') }} - lag({{ epoch_millis('timestamp') }}) over (
            partition by session_id order by timestamp
        ) as pause_ms
    from records
    where not is_copy
        and timestamp is not null

),

activity as (

    select session_id, {{ integer_division('sum(least(pause_ms, ' ~ longest_pause_ms ~ '))', 1000) }} as active_seconds
    from pauses
    where pause_ms is not null
    group by session_id

),

titles as (

    select session_id, title
    from (
        select
            records.session_id,
            summary.content as title,
            row_number() over (
                partition by records.session_id
                order by records.timestamp desc nulls last, summary.content, summary._id
            ) as position
        from {{ ref('stg_conversations') }} as summary
        inner join records on records.uuid = summary.leaf_uuid
        where summary.type = 'summary'
            and not summary.is_deleted
    )
    where position = 1

),

-- How it ended: by the last thing said in the main conversation, sub-agents left aside.
last_lines as (

    select
        line.session_id,
        max_by(
            case
                when line.is_interruption then 'interrupted'
                when line.is_api_error then 'failed'
                when line.role = 'user' or line.has_tool_use then 'unfinished'
                else 'completed'
            end,
            {{ ordering([
                'coalesce(' ~ epoch_millis('line.timestamp') ~ ', -' ~ end_of_time ~ ')',
                'line.source_file', 'line.source_offset', 'line.line_id'
            ]) }}
        ) as outcome
    from {{ ref('stg_messages') }} as line
    inner join touched on touched.session_id = line.session_id
    where not line.is_sidechain
        and not line.is_meta
        and (line.role = 'assistant' or line.is_human_prompt or line.is_interruption or line.has_tool_result)
        and (line.is_api_error or not line.is_client_made)
    group by line.session_id

),

message_counts as (

    select
        message.session_id,
        count(*) filter (where role = 'human') as human_messages,
        count(*) filter (where role = 'assistant') as assistant_messages,
        sum(content_length) as total_content_length,
        count(distinct case when role = 'assistant' and turn_number > 0 then turn_number end) as turns,
        sum(input_tokens + output_tokens + cache_write_5m_tokens + cache_write_1h_tokens + cache_read_tokens) as token_count
    from {{ ref('int_messages_enriched') }} as message
    inner join touched on touched.session_id = message.session_id
    group by message.session_id

),

model_mixes as (

    select session_id, {{ join_texts("concat(model, ' (', responses, ')')", "', '", 'responses desc, model') }} as models
    from (
        select message.session_id, message.model, count(*) as responses
        from {{ ref('int_messages_enriched') }} as message
        inner join touched on touched.session_id = message.session_id
        where message.model is not null
        group by message.session_id, message.model
    )
    group by session_id

),

tool_counts as (

    select
        usage.session_id,
        count(*) as tool_calls,
        count(*) filter (where is_success) as successful_tool_calls,
        count(*) filter (where not is_success) as failed_tool_calls,
        count(distinct case when is_success and operation_type <> 'read' then file_path end) as files_modified,
        count(*) filter (where is_success and operation_type <> 'read') as edits,
        sum(lines_added) as lines_added,
        sum(lines_removed) as lines_removed
    from {{ ref('int_tool_usage') }} as usage
    inner join touched on touched.session_id = usage.session_id
    group by usage.session_id

)

select
    spans.session_id,
    coalesce(nullif({{ project_root('spans.first_folder') }}, ''), spans.first_folder, 'unknown') as project_path,
    spans.machine,
    spans.user_name,
    spans.git_branch,
    titles.title,
    spans.start_time,
    spans.end_time,
    {{ date_key('spans.start_time') }} as date_key,
    {{ integer_division(epoch_millis('spans.end_time') ~ ' - ' ~ epoch_millis('spans.start_time'), 1000) }} as duration_seconds,
    coalesce(activity.active_seconds, 0) as active_seconds,
    spans.record_count,
    spans.copied_record_count,
    coalesce(last_lines.outcome, 'empty') as outcome,
    coalesce(message_counts.human_messages, 0) as human_messages,
    coalesce(message_counts.assistant_messages, 0) as assistant_messages,
    coalesce(message_counts.turns, 0) as turns,
    model_mixes.models,
    coalesce(message_counts.total_content_length, 0) as total_content_length,
    coalesce(message_counts.token_count, 0) as token_count,
    coalesce(tool_counts.tool_calls, 0) as tool_calls,
    coalesce(tool_counts.successful_tool_calls, 0) as successful_tool_calls,
    coalesce(tool_counts.failed_tool_calls, 0) as failed_tool_calls,
    coalesce(tool_counts.files_modified, 0) as files_modified,
    coalesce(tool_counts.edits, 0) as edits,
    coalesce(tool_counts.lines_added, 0) as lines_added,
    coalesce(tool_counts.lines_removed, 0) as lines_removed,
    touched.version as _version
from spans
inner join touched on touched.session_id = spans.session_id
left join activity on activity.session_id = spans.session_id
left join titles on titles.session_id = spans.session_id
left join last_lines on last_lines.session_id = spans.session_id
left join message_counts on message_counts.session_id = spans.session_id
left join model_mixes on model_mixes.session_id = spans.session_id
left join tool_counts on tool_counts.session_id = spans.session_id
