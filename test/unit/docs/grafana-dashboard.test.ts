import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Meter } from '../../../src/telemetry/api.ts'
import { tellPools } from '../../../src/telemetry/pool-metrics.ts'

const FILE = join(import.meta.dirname, '..', '..', '..', 'docs', 'grafana-dashboard.json')

test('the dashboard asks for the metrics that are told, by their names in Prometheus', async () => {
  const told = new Set(['db_client_operation_duration_seconds_bucket'])
  const prometheus = (name: string): string => name.replaceAll('.', '_')
  const meter: Meter = {
    createHistogram: (name) => {
      told.add(`${prometheus(name)}_seconds_bucket`)
      return { record: () => undefined }
    },
    createCounter: (name) => {
      told.add(`${prometheus(name)}_total`)
      return { add: () => undefined }
    },
    createObservableUpDownCounter: (name) => {
      told.add(prometheus(name))
      return { addCallback: () => undefined, removeCallback: () => undefined }
    },
  }
  tellPools(meter, [])
  const { panels } = JSON.parse(await readFile(FILE, 'utf8')) as {
    readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[]
  }
  const asked = panels.flatMap(({ targets }) =>
    targets.flatMap(({ expr }) => [...expr.matchAll(/\b(db_client_[a-z_]+)\{/g)].map(([, name = '']) => name)),
  )
  assert.deepEqual(new Set(asked), told)
})
