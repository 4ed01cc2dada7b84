/** Renewals beside OpenTelemetry's SDK: work that its instrumentations see makes no span, and has no request's store. */

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { refreshingSource } from '../../src/credentials/refreshing-source.ts'
import { KerberosTicket } from '../../src/kerberos/kerberos-ticket.ts'
import { Secret } from '../../src/secret.ts'
import { enterRealm, startKdc } from '../support/kdc.ts'

interface FinishedSpan {
  readonly name: string
}
interface Sdk {
  readonly context: { setGlobalContextManager(manager: object): void }
  readonly trace: {
    setGlobalTracerProvider(provider: object): void
    getTracer(name: string): {
      startSpan(name: string): { end(): void }
      startActiveSpan<T>(name: string, work: () => T): T
    }
  }
  readonly AsyncLocalStorageContextManager: new () => { enable(): object }
  readonly InMemorySpanExporter: new () => { getFinishedSpans(): readonly FinishedSpan[] }
  readonly SimpleSpanProcessor: new (options: object) => object
  readonly TracerProvider: new (options: object) => object
}

const load = createRequire(join(import.meta.dirname, '..', '..', 'examples', 'telemetry', 'package.json'))
const { context, trace, AsyncLocalStorageContextManager, InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } = {
  ...load('@opentelemetry/api'),
  ...load('@opentelemetry/context-async-hooks'),
  ...load('@opentelemetry/sdk-trace'),
} as Sdk

const exporter = new InMemorySpanExporter()
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }))
const tracer = trace.getTracer('an instrumentation')
const requests = new AsyncLocalStorage<string>()

/** Does what an instrumentation of HTTP or of files does at a call; gives the store of the request that it belongs to. */
function call(name: string): string | undefined {
  tracer.startSpan(name).end()
  return requests.getStore()
}

const spansNamed = (name: string): number => exporter.getFinishedSpans().filter((span) => span.name === name).length

function inRequest(work: () => Promise<void>): Promise<void> {
  return tracer.startActiveSpan('request', () => requests.run('a request', work))
}

test('the renewal of a credential makes no span, and that of its caller goes on', async () => {
  const stores: (string | undefined)[] = []
  const source = refreshingSource({
    fetch: async () => {
      stores.push(call('token'))
      const issuedAt = Date.now()
      return { kind: 'password', identity: 'etl', password: new Secret('x'), issuedAt, expiresAt: issuedAt + 500 }
    },
  })
  await inRequest(async () => {
    for (; stores.length < 3; await sleep(20)) await source.get()
    assert.equal(call('statement'), 'a request')
  })
  source.close()
  assert.equal(spansNamed('token'), 0)
  assert.equal(spansNamed('statement'), 1)
  assert.ok(stores.every((store) => store === undefined))
})

test('the renewal of a ticket makes no span', async () => {
  const kdc = await startKdc()
  after(() => kdc[Symbol.asyncDispose]())
  enterRealm(kdc)
  await kdc.addPrincipal('etl', { maxLife: '1 hour' })
  const stores: (string | undefined)[] = []
  let isStarted = false
  await using ticket = new KerberosTicket({
    principal: 'etl',
    keytab: await kdc.keytab('etl'),
    cache: `FILE:${kdc.path('traced')}`,
    // Due after 2 s.
    lifetimeSeconds: 4,
    onEvent: ({ kind }) => {
      if (isStarted && kind === 'acquired') stores.push(call('ticket'))
    },
  })
  await inRequest(async () => {
    await ticket.start()
    isStarted = true
  })
  while (stores.length < 2) await sleep(50)
  assert.equal(spansNamed('ticket'), 0)
  assert.ok(stores.every((store) => store === undefined))
})
