select o.order_id, o.amount, o.discount_pct from staging.orders o
