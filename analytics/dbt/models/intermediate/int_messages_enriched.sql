{{ config(materialized='incremental', unique_key='message_id', post_hook="{{ remove_stale_rows() }}") }}

with touched as (

    {{ touched_sessions() }}

),

response_lines as (

    select
        {{ response_id('line') }} as response_id,
        line.line_id,
        line.seen_in,
        line.timestamp,
        line.source_file,
        line.source_offset,
        line.content_length,
        line.stop_reason,
        line.input_tokens,
        line.output_tokens,
        line.cache_write_5m_tokens,
        line.cache_write_1h_tokens,
        line.cache_read_tokens,
        line.web_search_requests
    from {{ ref('stg_messages') }} as line
    inner join touched on touched.session_id = line.session_id
    where line.role = 'assistant'
        and not line.is_client_made

),

-- Every line of a response repeats its usage, growing while the response streams: the greatest is the final one.
usages as (

    select
        response_id,
        count(*) as line_count,
        max(stop_reason) as stop_reason,
        coalesce(
            sum(content_length) filter (where seen_in = 'transcript'),
            sum(content_length)
        ) as content_length,
        max(input_tokens) as input_tokens,
        max(output_tokens) as output_tokens,
        max(cache_write_5m_tokens) as cache_write_5m_tokens,
        max(cache_write_1h_tokens) as cache_write_1h_tokens,
        max(cache_read_tokens) as cache_read_tokens,
        max(web_search_requests) as web_search_requests
    from response_lines
    group by response_id

),

first_lines as (

    select response_id, line_id
    from (
        select
            response_id,
            line_id,
            row_number() over (partition by response_id order by {{ most_original() }}, line_id) as telling
        from response_lines
    )
    where telling = 1

),

messages as (

    select
        usages.response_id as natural_key,
        'assistant' as role,
        first_lines.line_id,
        usages.line_count,
        usages.stop_reason,
        usages.content_length,
        coalesce(usages.input_tokens, 0) as input_tokens,
        coalesce(usages.output_tokens, 0) as output_tokens,
        coalesce(usages.cache_write_5m_tokens, 0) as cache_write_5m_tokens,
        coalesce(usages.cache_write_1h_tokens, 0) as cache_write_1h_tokens,
        coalesce(usages.cache_read_tokens, 0) as cache_read_tokens,
        coalesce(usages.web_search_requests, 0) as web_search_requests
    from usages
    inner join first_lines on first_lines.response_id = usages.response_id

    union all

    select
        coalesce(prompt.uuid, prompt.line_id) as natural_key,
        'human' as role,
        prompt.line_id,
        1 as line_count,
        cast(null as string) as stop_reason,
        prompt.content_length,
        0 as input_tokens,
        0 as output_tokens,
        0 as cache_write_5m_tokens,
        0 as cache_write_1h_tokens,
        0 as cache_read_tokens,
        0 as web_search_requests
    from {{ ref('stg_messages') }} as prompt
    inner join touched on touched.session_id = prompt.session_id
    where prompt.is_human_prompt

),

located as (

    select
        messages.*,
        line.session_id,
        line.uuid,
        line.parent_uuid,
        line.seen_in,
        line.timestamp,
        line.source_file,
        line.source_offset,
        case when messages.role = 'assistant' then line.model end as model,
        line.is_sidechain,
        line.agent_id,
        line.git_branch,
        case when messages.role = 'human' then {{ task_category("coalesce(line.content, '')") }} end as task_category,
        touched.version
    from messages
    inner join {{ ref('stg_messages') }} as line on line.line_id = messages.line_id
    inner join touched on touched.session_id = line.session_id

)

select
    {{ dbt_utils.generate_surrogate_key(['natural_key']) }} as message_id,
    natural_key,
    role,
    session_id,
    line_id,
    uuid,
    parent_uuid,
    seen_in,
    timestamp,
    {{ date_key('timestamp') }} as date_key,
    -- A turn is a prompt and all that follows up to the next one.
    count(case when role = 'human' then 1 end) over (
        partition by session_id
        order by timestamp nulls last, source_file, source_offset, natural_key
        rows between unbounded preceding and current row
    ) as turn_number,
    model,
    is_sidechain,
    agent_id,
    git_branch,
    line_count,
    stop_reason,
    stop_reason is not null as has_final_usage,
    cast(content_length as bigint) as content_length,
    task_category,
    cast(input_tokens as bigint) as input_tokens,
    cast(output_tokens as bigint) as output_tokens,
    cast(cache_write_5m_tokens as bigint) as cache_write_5m_tokens,
    cast(cache_write_1h_tokens as bigint) as cache_write_1h_tokens,
    cast(cache_read_tokens as bigint) as cache_read_tokens,
    cast(web_search_requests as bigint) as web_search_requests,
    version as _version
from located
