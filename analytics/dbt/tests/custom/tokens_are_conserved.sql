-- Every token of an original line's final usage is in the facts exactly once, whatever staging and joins did.
with by_response as (

    select
        {{ response_id('line') }} as response_id,
        coalesce(max(input_tokens), 0) + coalesce(max(output_tokens), 0) + coalesce(max(cache_write_5m_tokens), 0)
            + coalesce(max(cache_write_1h_tokens), 0) + coalesce(max(cache_read_tokens), 0) as token_count
    from {{ ref('stg_messages') }} as line
    where role = 'assistant' and not is_client_made
    group by {{ response_id('line') }}

),

totals as (

    select
        (select coalesce(sum(token_count), 0) from by_response) as staged,
        (select coalesce(sum(token_count), 0) from {{ ref('fct_messages') }}) as in_facts,
        (select coalesce(sum(token_count), 0) from {{ ref('agg_session_metrics') }}) as by_session,
        (select coalesce(sum(token_count), 0) from {{ ref('agg_daily_summary') }})
            + (select coalesce(sum(token_count), 0) from {{ ref('fct_messages') }} where date_key is null) as by_day

)

select * from totals
where staged <> in_facts or in_facts <> by_session or in_facts <> by_day
