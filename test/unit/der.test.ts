import assert from 'node:assert/strict'
import { test } from 'node:test'
import { elements, field, fieldOf, generalizedTime, generalString, integer, sequence, tagged } from '../../src/der.ts'

test('a value is written and read back, with lengths of one, two and three bytes', () => {
  for (const size of [0, 127, 128, 255, 256, 65_536]) {
    const [element, next] = elements(Buffer.concat([tagged(0x04, Buffer.alloc(size, 7)), integer(1)]))
    assert.deepEqual([element?.tag, element?.content.length, next?.tag], [0x04, size, 0x02])
  }
})

test('integers have as few bytes as DER demands', () => {
  const texts = [0, 1, 127, 128, 255, 256, 0x7fff_ffff].map((value) => integer(value).toString('hex'))
  assert.deepEqual(texts, ['020100', '020101', '02017f', '02020080', '020200ff', '02020100', '02047fffffff'])
})

test('a field of a sequence is found by its number', () => {
  const [outer] = elements(sequence(field(1, integer(5)), field(4, generalString('alice'))))
  const fields = elements(outer?.content ?? Buffer.alloc(0))
  assert.deepEqual(fieldOf(fields, 1)?.content, Buffer.of(5))
  assert.equal(String(fieldOf(fields, 4)?.content), 'alice')
  assert.equal(fieldOf(fields, 2), undefined)
})

test('times are written without fractions', () => {
  const [time] = elements(generalizedTime(new Date('2026-03-04T05:06:07.890Z')))
  assert.deepEqual([time?.tag, String(time?.content)], [0x18, '20260304050607Z'])
})

test('bytes that are cut short, or longer than they can be, are a RangeError', () => {
  for (const bytes of ['30', '3005', '30050201', '3080', '30ff00', '308400000001']) {
    assert.throws(() => elements(Buffer.from(bytes, 'hex')), RangeError, bytes)
  }
})
