/**
 * The cost of idle sessions, against pg.Pool's: processor time and wake-ups of a process that holds 10 and 1,000 of them,
 * also beside 10,000 sockets of another process, and the memory of one. Both sides are idle at the same time, and the
 * kernel is asked from outside, so that no code of the measurement runs in them. The first 30 s after use count by
 * themselves: in them the pool and the network look once more after what was used. By default it ends before V8 collects
 * garbage in a process that has long been idle, twice in all, which has nothing to do with sessions.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Idle } from './idle-side.ts'
import { compared, MOST_REPETITIONS, median, type Result, type SuiteOptions, verdictOf } from './measure.ts'

const SECONDS = 60
/** For each figure: a process wakes up so seldom that one alone says little. */
const PROCESSES = 10
/** Node wakes up every eight seconds by itself: the windows must not all begin at the same point of that. */
const STAGGER_MILLIS = 1750
const LONG_SECONDS = 600
const MOST_RATIO = 1.2
/** Longer than the network is watched over after a statement. */
const SETTLING_SECONDS = 30
const FOREIGN_SOCKETS = 10_000
const MOST_BYTES = 24 * 1024
/** Processor time of 1,000 sessions in the 30 s after use, in milliseconds. */
const MOST_SETTLING = 25

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

interface Cost {
  readonly cpuMillis: number
  readonly wakeUps: number
}

interface Figures extends Cost, Idle {
  /** Of the seconds right after use. */
  readonly settlingMillis: number
}

async function sideFigures(side: 'ours' | 'peer', count: number, port: number, seconds: number): Promise<Figures> {
  const child = fork(path('idle-side.ts'), [side, String(count), String(port)], { execArgv: ['--expose-gc'] })
  try {
    const { bytesPerSession } = (await started(child)) as Idle
    const settling = await spent(child, SETTLING_SECONDS)
    return { ...(await spent(child, seconds)), settlingMillis: settling.cpuMillis, bytesPerSession }
  } finally {
    child.kill()
  }
}

/** The kernel's account of all threads of a process over some seconds: proc_pid_status(5) and the scheduler's statistics. */
async function spent({ pid }: ChildProcess, seconds: number): Promise<Cost> {
  const begin = await account(`/proc/${pid}/task`)
  await sleep(seconds * 1000)
  const end = await account(`/proc/${pid}/task`)
  return { cpuMillis: end.cpuMillis - begin.cpuMillis, wakeUps: end.wakeUps - begin.wakeUps }
}

async function account(tasks: string): Promise<Cost> {
  const sum = { cpuMillis: 0, wakeUps: 0 }
  for (const task of await readdir(tasks)) {
    const [onProcessor] = (await readFile(`${tasks}/${task}/schedstat`, 'utf8')).split(' ')
    const status = await readFile(`${tasks}/${task}/status`, 'utf8')
    sum.cpuMillis += Number(onProcessor) / 1e6
    sum.wakeUps += Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1])
  }
  return sum
}

/** A child process that says one thing when it is ready. */
async function started(child: ChildProcess): Promise<unknown> {
  const [said] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`A process of the benchmark ended with ${code}.`)
    }),
  ])
  return said
}

interface Listening {
  readonly port: number
}

type Ports = Readonly<Record<'ours' | 'peer', number>>

interface Pair {
  readonly ours: Figures[]
  readonly peer: Figures[]
}

/** Both sides, for each of the counts, all idle at the same time; again and again while a ratio is undecided. */
async function measure(counts: readonly number[], ports: Ports, seconds: number): Promise<Pair[]> {
  const several = (side: 'ours' | 'peer', count: number): Promise<Figures[]> =>
    Promise.all(
      Array.from({ length: PROCESSES }, async (_, index) => {
        await sleep(index * STAGGER_MILLIS)
        return sideFigures(side, count, ports[side], seconds)
      }),
    )
  const pairs = counts.map((): Pair => ({ ours: [], peer: [] }))
  for (let repetition = 0; repetition < MOST_REPETITIONS; repetition++) {
    const more = counts.map((count) => Promise.all([several('ours', count), several('peer', count)]))
    for (const [index, [ours, peer]] of (await Promise.all(more)).entries()) {
      pairs[index]?.ours.push(...ours)
      pairs[index]?.peer.push(...peer)
    }
    if (!pairs.some((pair) => figuresOf('', pair, seconds).some((result) => verdictOf(result) === 'undecided'))) break
  }
  return pairs
}

function figuresOf(name: string, { ours, peer }: Pair, seconds: number): Result[] {
  const result = (title: string, unit: string, of: (side: Figures) => number): Result => {
    const aMinute = (side: Figures): number => (of(side) * 60) / seconds
    return compared({
      name: `${name}: ${title}`,
      unit,
      bound: MOST_RATIO,
      ours: ours.map(aMinute),
      peer: peer.map(aMinute),
    })
  }
  return [
    result('processor time', 'ms/min', ({ cpuMillis }) => cpuMillis),
    result('wake-ups', '/min', ({ wakeUps }) => wakeUps),
  ]
}

function atMost(name: string, unit: string, all: readonly number[], bound: number): Result {
  const ours = Number(median(all).toPrecision(4))
  return { name, ours, peer: bound, unit, ratio: ours / bound, bound: 1, met: ours <= bound }
}

export async function run({ long = false }: SuiteOptions = {}): Promise<Result[]> {
  const seconds = long ? LONG_SECONDS : SECONDS
  // A process may have 20,000 files open in many places, so each side has a server of its own.
  const servers = [fork(path('idle-server.ts')), fork(path('idle-server.ts'))]
  let foreign: ChildProcess | undefined
  try {
    const [ours, peer] = (await Promise.all(servers.map(started))) as [Listening, Listening]
    const ports = { ours: ours.port, peer: peer.port }
    const [few, many] = (await measure([10, 1000], ports, seconds)) as [Pair, Pair]
    foreign = fork(path('idle-foreign.ts'), [String(FOREIGN_SOCKETS)])
    await started(foreign)
    const [crowded] = (await measure([1000], ports, seconds)) as [Pair]
    return [
      ...figuresOf('10 idle sessions', few, seconds),
      ...figuresOf('1,000 idle sessions', many, seconds),
      ...figuresOf('1,000 idle sessions beside 10,000 foreign sockets', crowded, seconds),
      atMost(
        'the same in the 30 s after use, at most',
        'ms',
        crowded.ours.map(({ settlingMillis }) => settlingMillis),
        MOST_SETTLING,
      ),
      atMost(
        'memory of an idle session, at most',
        'bytes',
        many.ours.map(({ bytesPerSession }) => bytesPerSession),
        MOST_BYTES,
      ),
    ]
  } finally {
    for (const server of servers) server.kill()
    foreign?.kill()
  }
}
