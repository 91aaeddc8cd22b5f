-- What calls cost by the book of a basis, in the shape of `repriced`.  DuckDB only.
CREATE OR REPLACE VIEW basis_cost AS
SELECT
    writer AS writer,
    seq AS seq,
    state AS repriced_state,
    pico AS repriced_pico,
    rate_id AS rate_id,
    CAST(NULL AS VARCHAR) AS reprice_id
FROM basis_price
