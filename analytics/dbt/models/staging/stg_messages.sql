{{ config(materialized='incremental', unique_key='line_id', post_hook="{{ remove_stale_rows() }}") }}

with touched as (

    {{ touched_sessions() }}

),

-- Nearly all lines hold one block; what the others hold beside their first is put together here.
further_blocks as (

    select
        {{ line_id('entry') }} as line_id,
        {{ join_texts(
            "case when entry.type = 'message' and " ~ is_typed_by_human('entry.content') ~ " then entry.content end",
            'chr(10)',
            'entry.block_index'
        ) }} as typed_text,
        sum(entry.content_length) as content_length,
        count(*) as block_count,
        count(*) filter (where entry.type = 'tool_result') as tool_results,
        count(*) filter (where entry.type = 'tool_use') as tool_uses
    from {{ ref('stg_conversations') }} as entry
    inner join touched on touched.session_id = entry.session_id
    where entry.block_index > 0
    group by {{ line_id('entry') }}

),

lines as (

    select
        {{ line_id('entry') }} as line_id,
        entry.record_id,
        entry.uuid,
        entry.parent_uuid,
        entry.session_id,
        entry.role,
        entry.seen_in,
        entry.timestamp,
        entry.is_sidechain,
        entry.agent_id,
        entry.is_meta,
        entry.is_compact_summary,
        entry.is_api_error,
        entry.git_branch,
        entry.is_api_error or coalesce(entry.model = '<synthetic>', false) as is_client_made,
        entry.message_id,
        entry.request_id,
        entry.model,
        entry.stop_reason,
        entry.input_tokens,
        entry.output_tokens,
        entry.cache_write_5m_tokens,
        entry.cache_write_1h_tokens,
        entry.cache_read_tokens,
        entry.web_search_requests,
        entry.type,
        entry.block_type,
        case when entry.type = 'message' then entry.content end as text,
        entry.content_length,
        entry.source_file,
        entry.source_offset,
        touched.version
    from {{ ref('stg_conversations') }} as entry
    inner join touched on touched.session_id = entry.session_id
    where entry.block_index = 0
        and entry.role in ('user', 'assistant')
        and not entry.is_deleted

),

described as (

    select
        lines.*,
        case
            when lines.text is null then further_blocks.typed_text
            when further_blocks.typed_text is null then lines.text
            when {{ is_typed_by_human('lines.text') }} then concat(lines.text, chr(10), further_blocks.typed_text)
            else further_blocks.typed_text
        end as content,
        lines.content_length + coalesce(further_blocks.content_length, 0) as full_length,
        1 + coalesce(further_blocks.block_count, 0) as block_count,
        lines.type = 'tool_result' or coalesce(further_blocks.tool_results, 0) > 0 as has_tool_result,
        lines.type = 'tool_use' or coalesce(further_blocks.tool_uses, 0) > 0 as has_tool_use
    from lines
    anti join {{ ref('stg_line_copies') }} as copies on copies.line_id = lines.line_id
    left join further_blocks on further_blocks.line_id = lines.line_id

)

select
    line_id,
    record_id,
    uuid,
    parent_uuid,
    session_id,
    role,
    role = 'user'
        and seen_in = 'transcript'
        and not is_sidechain
        and not is_meta
        and not is_compact_summary
        and not has_tool_result
        and (block_type is not null or content is not null)
        and {{ is_typed_by_human("coalesce(content, '')") }} as is_human_prompt,
    role = 'user' and {{ is_interruption("coalesce(content, '')") }} as is_interruption,
    is_meta,
    is_client_made,
    is_client_made and (is_api_error or content like 'API Error%') as is_api_error,
    has_tool_use,
    has_tool_result,
    seen_in,
    timestamp,
    is_sidechain,
    agent_id,
    nullif(git_branch, '') as git_branch,
    message_id,
    request_id,
    model,
    stop_reason,
    input_tokens,
    output_tokens,
    cache_write_5m_tokens,
    cache_write_1h_tokens,
    cache_read_tokens,
    web_search_requests,
    content,
    full_length as content_length,
    block_count,
    source_file,
    source_offset,
    version as _version
from described
