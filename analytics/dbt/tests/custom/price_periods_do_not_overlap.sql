-- Otherwise a response would be charged twice.
select earlier.model, earlier.from_ms, later.from_ms as overlapped_from_ms
from {{ ref('int_model_prices') }} as earlier
inner join {{ ref('int_model_prices') }} as later
    on later.model = earlier.model
    and later.from_ms > earlier.from_ms
    and later.from_ms < earlier.to_ms
