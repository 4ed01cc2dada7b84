import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  airflowNames,
  type Environment,
  findInEnvironment,
  listEnvironment,
  ownName,
} from '../../../../src/connections/stores/environment.ts'

const namesOf = (id: string, team?: string) => [ownName(id), ...airflowNames(id, team)]
const findIn = (id: string, environment: Environment, team?: string) =>
  findInEnvironment(id, environment, namesOf(id, team))

describe('connections in the environment', () => {
  it('are named by the id in capitals, ours before Airflow’s', () => {
    assert.deepEqual(namesOf('my-db.1'), ['POOLSMITH_CONN_MY-DB.1', 'AIRFLOW_CONN_MY-DB.1'])
    const environment = { AIRFLOW_CONN_A: 'postgres://two', POOLSMITH_CONN_A: 'postgres://one' }
    assert.equal(findIn('a', environment)?.value, 'postgres://one')
    assert.equal(findIn('A', environment)?.store, 'environment variable POOLSMITH_CONN_A')
    assert.equal(findIn('b', environment), undefined)
  })

  it('count as not there when they are blank', () => {
    const environment = {
      POOLSMITH_CONN_A: ' ',
      AIRFLOW_CONN_A: 'postgres://h',
      AIRFLOW_CONN_B: '',
      AIRFLOW_CONN_C: undefined,
    }
    assert.equal(findIn('a', environment)?.store, 'environment variable AIRFLOW_CONN_A')
    assert.deepEqual(
      listEnvironment(environment).map(({ id }) => id),
      ['a'],
    )
  })

  it('are listed by id, and nothing else is', () => {
    const environment = {
      PATH: '/bin',
      AIRFLOW_CONN_Z: 'postgres://z',
      AIRFLOW_CONN_B: 'postgres://b',
      POOLSMITH_CONN_: 'postgres://none',
      POOLSMITH_CONNECTIONS_FILE: '/x',
      POOLSMITH_CONN_MY_DB: '{}',
      XPOOLSMITH_CONN_Y: 'postgres://y',
    }
    assert.deepEqual(
      listEnvironment(environment).map(({ id, store }) => [id, store]),
      [
        ['my_db', 'environment variable POOLSMITH_CONN_MY_DB'],
        ['b', 'environment variable AIRFLOW_CONN_B'],
        ['z', 'environment variable AIRFLOW_CONN_Z'],
      ],
    )
  })

  it('of a team are named as in Airflow, come before those of all teams, and are nobody else’s', () => {
    assert.deepEqual(namesOf('sales', 'data-1'), [
      'POOLSMITH_CONN_SALES',
      'AIRFLOW_CONN__DATA-1___SALES',
      'AIRFLOW_CONN_SALES',
    ])
    const environment = {
      AIRFLOW_CONN__DATA___SALES: 'postgres://data',
      AIRFLOW_CONN__OPS___SALES: 'postgres://ops',
      AIRFLOW_CONN_SALES: 'postgres://all',
      AIRFLOW_CONN__AB___X: 'postgres://no-team',
    }
    const found = (id: string, team?: string) => findIn(id, environment, team)?.value
    assert.deepEqual(
      [found('sales', 'data'), found('sales', 'ops'), found('sales')],
      ['postgres://data', 'postgres://ops', 'postgres://all'],
    )
    assert.equal(found('sales', 'other'), 'postgres://all')
    // As Airflow has it: an id leads into no team, but a name of two letters is no team's.
    assert.equal(found('_data___sales'), undefined)
    assert.equal(found('_ab___x'), 'postgres://no-team')
    const listed = (team?: string) => listEnvironment(environment, team).map(({ id, value }) => [id, value])
    assert.deepEqual(listed(), [
      ['_ab___x', 'postgres://no-team'],
      ['sales', 'postgres://all'],
    ])
    assert.deepEqual(listed('data')[0], ['sales', 'postgres://data'])
  })
})
