/** Tables of several extract tests. */

/** A thousand rows with columns of many types, and a view of some of them. */
export const FLIGHTS = `create table flights (id int primary key, carrier text, "Delay?" int, at timestamptz, tags text[], j jsonb);
  insert into flights select g, (array['AA','UA','o''k\\'])[g % 3 + 1], g % 50, timestamptz '2024-01-01Z' + g * interval '1 hour',
    array['t' || g % 5], jsonb_build_object('k', g % 7) from generate_series(1, 1000) g; analyze flights;
  create view late as select id, "Delay?" as delay from flights where "Delay?" > 40`

export const LARGE_ROWS = 200_000

/** Forty megabytes: more than all the buffers on the way hold together. */
export const LARGE_FLIGHTS = `create table flights (id int, filler text);
  insert into flights select g, repeat(md5(g::text), 6) from generate_series(1, ${LARGE_ROWS}) g`
