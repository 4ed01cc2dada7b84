import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Chain, lineHash } from '../../../src/audit/chain.ts'
import { type AuditVerification, verifyAudit } from '../../../src/audit/verify.ts'

/** Lines as a writer makes them, after what it finds in the file. */
function written(count: number, found: string | null = null, first: object = {}): string[] {
  const chain = new Chain(found)
  return Array.from({ length: count }, (_, index) =>
    chain.link(JSON.stringify({ event: 'x', n: index, ...(index === 0 ? first : {}) })),
  )
}

const verify = (lines: readonly string[], end = '\n'): Promise<AuditVerification> =>
  verifyAudit(pieces(lines.join('\n') + end))

/** In pieces of an odd length, so that lines are cut anywhere. */
async function* pieces(text: string): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += 37) yield bytes.subarray(at, at + 37)
}

test('a file that nobody has touched is whole, and its last hash is told', async () => {
  const lines = written(20)
  const { verdict, lines: count, chains } = await verify(lines)
  assert.deepEqual([verdict, count], ['whole', 20])
  assert.deepEqual(
    chains.map(({ first, last, hash }) => [first, last, hash]),
    [[1, 20, lineHash(lines.at(-1) ?? '')]],
  )
})

test('the first line that does not fit is named for each change that can be seen', async () => {
  const lines = written(20)
  const faultOf = async (changed: readonly string[]) => {
    const { verdict, fault } = await verify(changed)
    assert.equal(verdict, 'broken')
    return [fault?.line, fault?.problem]
  }
  assert.deepEqual(await faultOf(lines.toSpliced(9, 1)), [
    10,
    'is number 11 of its chain: a line was removed before it',
  ])
  assert.deepEqual(await faultOf(lines.toSpliced(9, 3)), [
    10,
    'is number 13 of its chain: 3 lines were removed before it',
  ])
  assert.deepEqual(await faultOf(lines.with(9, (lines[9] as string).replace('"n":9', '"n":8'))), [10, 'was changed'])
  assert.deepEqual(await faultOf(lines.toSpliced(9, 0, '{"event":"x","n":5}')), [
    10,
    'has no link: another program wrote it, or its link was removed',
  ])
  assert.deepEqual(await faultOf(lines.toSpliced(9, 0, lines[5] as string)), [
    10,
    'is number 6 of its chain, after number 9: it is repeated, or was moved',
  ])
  assert.deepEqual(await faultOf(lines.with(9, (lines[9] as string).slice(0, 12))), [
    10,
    'is not whole, and no writer has noted that: it was changed',
  ])
  assert.deepEqual(await faultOf(lines.slice(1)), [1, 'is number 2 of its chain, and those before it are missing'])
})

test('a writer that begins after another one proves the end of that one', async () => {
  const before = written(5)
  const after = written(5, lineHash(before[4] as string))
  assert.equal((await verify([...before, ...after])).verdict, 'whole')
  const { fault } = await verify([...before.slice(0, 4), ...after])
  assert.deepEqual(fault, { line: 5, problem: 'follows a line that was changed or removed' })
  const alone = await verify(after)
  assert.match(alone.fault?.problem ?? '', /not in the file; verify rotated files together/)
})

test('two writers may write in turn', async () => {
  const [a, b] = [written(5), written(5)]
  const { verdict, chains } = await verify(a.flatMap((line, index) => [line, b[index] as string]))
  assert.deepEqual([verdict, chains.length], ['whole', 2])
})

test('a last line that is not whole is told apart from a change, and is excused once the next writer has noted it', async () => {
  const lines = written(5)
  const fragment = '{"time":"2026-'
  assert.equal((await verify([...lines, fragment], '')).verdict, 'truncated')
  assert.equal((await verify([...lines, fragment])).verdict, 'broken')
  const next = written(3, lineHash(fragment), { event: 'log', action: 'opened', torn: [lineHash(fragment)] })
  const { verdict, torn } = await verify([...lines, fragment, ...next])
  assert.deepEqual([verdict, torn], ['whole', 1])
  assert.equal((await verify([...lines, `${fragment}x`, ...next])).verdict, 'broken')
})

test('a file that was begun without hashes goes on with them, and one without any is told as such', async () => {
  const plain = ['{"event":"x"}', '{"event":"y"}']
  assert.equal((await verify(plain)).verdict, 'unlinked')
  assert.equal((await verify([], '')).verdict, 'unlinked')
  const linked = written(3, lineHash(plain[1] as string))
  const { verdict, unlinked } = await verify([...plain, ...linked])
  assert.deepEqual([verdict, unlinked], ['whole', 2])
  assert.equal((await verify([plain[0] as string, ...linked])).verdict, 'broken')
})

test('bytes that are no lines of a log do not end the check', async () => {
  for (const bad of [
    'null',
    '[]',
    '7',
    '{"chain":7}',
    '{"chain":{"id":1}}',
    '\u0000',
    '{"chain":{"id":"a","seq":1e9,"prev":[]}}',
  ])
    assert.notEqual((await verify([bad, bad])).verdict, 'whole')
})
