/** A table with a column of every type of postgres-types.ts. */

import { CASES, type Case } from './postgres-types.ts'

export const SETUP = `
create extension citext; create extension hstore;
create type mood as enum ('sad', 'so, so', 'Glück');
create domain price as numeric(10,2) check (value > -1000); create domain cheap_price as price check (value < 100);
create domain tags as text[]; create domain grid as int[][];
create type pair as (a int, b text); create domain people as pair[];
create type castable as (a int, b int);
create function castable_text(castable) returns text language sql as $$ select 'not this'::text $$;
create cast (castable as text) with function castable_text(castable);`

export const ROWS = Math.max(...Object.values(CASES).map((one) => one.values.length)) + 1

export function tableText(names: readonly string[]): string {
  const columns = names.map((name) => `"${name}" ${(CASES[name] as Case).type}`)
  const rows = Array.from({ length: ROWS }, (_, row) => {
    const fields = names.map((name) => {
      const { values, type } = CASES[name] as Case
      // The NULL moves through the rows, so that it is not only at the end.
      const shifted = values[(row + names.indexOf(name)) % (values.length + 1)]
      return shifted === undefined ? 'null' : `(${shifted})::${type}`
    })
    return `(${row}, ${fields.join(', ')})`
  })
  return `create table every_type (pos int, ${columns.join(', ')}); insert into every_type values ${rows.join(', ')};`
}
