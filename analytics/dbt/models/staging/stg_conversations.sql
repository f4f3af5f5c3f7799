{{ config(materialized='incremental', unique_key='_id', post_hook="{{ remove_vanished_entries() }}") }}

with records as (

    select
        conversations.*,
        {{ is_agent_tick() }} as is_tick
    from {{ source('raw', 'conversations') }} as conversations
    where {{ is_new_record() }}

),

-- A sub-agent's progress carries whole messages and is sometimes their only trace.
told as (

    select
        _id as record_id,
        type as record_type,
        {{ envelope(session_of_record('message is not null or is_tick')) }},
        nullif(uuid, '') as uuid,
        timestamp,
        message,
        tool_use,
        tool_use_result,
        is_tick,
        {{ parse_agent_progress('case when is_tick then data end') }} as tick
    from records

),

told_one_by_one as (

    select
        told.*,
        {{ explode_with_position(tick_messages('tick'), 'said', 'message_index') }}
    from told

),

-- A line is one message, or one record without any, in one place.
lines as (

    select
        record_id,
        record_type,
        {{ envelope() }},
        case when is_tick then said.type else record_type end as line_type,
        case when is_tick then 'progress' else 'transcript' end as seen_in,
        message_index,
        case when is_tick then coalesce(said.uuid, concat(uuid, '_', message_index)) else uuid end as uuid,
        coalesce(try_cast(said.timestamp as {{ instant_type() }}), timestamp) as timestamp,
        case when is_tick then cast(said.message as string) else message end as message,
        case when not is_tick then tool_use end as tool_use,
        case when is_tick then cast(said.toolUseResult as string) else tool_use_result end as tool_use_result
    from told_one_by_one

),

parsed as (

    select
        lines.*,
        {{ parse_message('message') }} as said,
        {{ parse_block('tool_use') }} as spec_block,
        tool_use is not null as has_spec_block,
        {{ parse_tool_use_result('tool_use_result') }} as result
    from lines

),

-- All that a line says once is read here: behind an unnest, an engine may copy a whole list for every row that looks
-- into it. Content may be one text instead of a list of blocks; it then counts as one block.
measured as (

    select
        record_id,
        record_type,
        {{ envelope() }},
        line_type,
        seen_in,
        message_index,
        uuid,
        timestamp,
        message,
        has_spec_block,
        nullif(said.id, '') as message_id,
        said.role as said_role,
        said.model as model,
        said.stop_reason as stop_reason,
        {{ sane_tokens('said.usage.input_tokens') }} as input_tokens,
        {{ sane_tokens('said.usage.output_tokens') }} as output_tokens,
        {{ cache_write_5m_tokens('said.usage') }} as cache_write_5m_tokens,
        {{ cache_write_1h_tokens('said.usage') }} as cache_write_1h_tokens,
        {{ sane_tokens('said.usage.cache_read_input_tokens') }} as cache_read_tokens,
        {{ sane_tokens('said.usage.server_tool_use.web_search_requests') }} as web_search_requests,
        {{ patch_lines('result.structuredPatch', '+') }} as patch_lines_added,
        {{ patch_lines('result.structuredPatch', '-') }} as patch_lines_removed,
        result.type as result_type,
        {{ list_length(text_lines('result.content')) }} as result_content_lines,
        result.agentId as result_agent_id,
        said.content is null and message is not null as is_plain_text,
        coalesce({{ list_length('said.content') }}, cast(message is not null as int)) as block_count,
        {{ message_blocks('said.content', 'message', 'spec_block', 'has_spec_block') }} as blocks
    from parsed

),

-- Every line gives at least one entry, so that no record disappears.
exploded as (

    select
        measured.*,
        {{ explode_with_position('blocks', 'block', 'block_index') }}
    from measured

),

blocks as (

    select
        exploded.*,
        block_index >= block_count and has_spec_block as is_spec_block
    from exploded

),

typed as (

    select
        blocks.*,
        case
            when line_type = 'summary' then 'summary'
            when block.type in ('tool_use', 'server_tool_use') then 'tool_use'
            when block.type like '%tool_result' then 'tool_result'
            when is_spec_block and line_type in ('tool_use', 'tool_result') then line_type
            when is_spec_block and block.tool_use_id is not null then 'tool_result'
            when is_spec_block then 'tool_use'
            when line_type in ('user', 'assistant', 'message') then 'message'
            else 'system'
        end as type,
        case
            when is_plain_text and block_index = 0 then {{ json_text('message', "'$.content'") }}
            when block_index < block_count and block.type is null
                then {{ json_text('message', "concat('$.content[', block_index, ']')") }}
            else block.text
        end as text
    from blocks

)

select
    concat(
        record_id,
        case when seen_in = 'progress' then concat('_', message_index) else '' end,
        '_', block_index
    ) as _id,
    record_id,
    cast(message_index as int) as message_index,
    cast(block_index as int) as block_index,
    type,
    record_type,
    block.type as block_type,
    seen_in,
    case
        when line_type in ('user', 'assistant') then line_type
        when line_type = 'message' and said_role in ('human', 'user') then 'user'
        when line_type = 'message' then said_role
    end as role,
    timestamp,
    session_id,
    project_path,
    uuid,
    parent_uuid,
    logical_parent_uuid,
    leaf_uuid,
    request_id,
    agent_id,
    coalesce(is_sidechain, false) or seen_in = 'progress' as is_sidechain,
    coalesce(is_meta, false) as is_meta,
    coalesce(is_compact_summary, false) as is_compact_summary,
    coalesce(is_api_error, false) as is_api_error,
    subtype,
    version,
    git_branch,
    permission_mode,
    message_id,
    model,
    stop_reason,
    input_tokens,
    output_tokens,
    cache_write_5m_tokens,
    cache_write_1h_tokens,
    cache_read_tokens,
    web_search_requests,
    case type
        when 'message' then text
        when 'tool_result' then left(block.content, 500)
        when 'summary' then coalesce(summary, text)
        when 'system' then content
    end as content,
    case when type = 'message' then coalesce(length(text), 0) else 0 end as content_length,
    nullif(case type when 'tool_use' then block.id when 'tool_result' then block.tool_use_id end, '') as tool_use_id,
    case when type = 'tool_use' then block.name end as tool_name,
    case when type = 'tool_use' then cast(block.input as string) end as tool_input,
    case when type = 'tool_result' then coalesce(block.is_error, false) end as is_error,
    case when type = 'tool_result' then {{ byte_length('block.content') }} end as result_size,
    case when type = 'tool_result' then patch_lines_added end as patch_lines_added,
    case when type = 'tool_result' then patch_lines_removed end as patch_lines_removed,
    case when type = 'tool_result' then result_type end as result_type,
    case when type = 'tool_result' then result_content_lines end as result_content_lines,
    case when type = 'tool_result' then result_agent_id end as result_agent_id,
    source_file,
    source_offset,
    machine,
    user_name,
    {{ is_deleted('_op') }} as is_deleted,
    _load_seq
from typed
