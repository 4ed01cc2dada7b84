import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { didYouMean, didYouMeanSentence, nearest, nearNames } from '../../src/did-you-mean.ts'

describe('nearest', () => {
  const words = ['sslmode', 'sslcert', 'pool_size', 'gss', 'TrustServerCertificate']
  for (const [slip, meant] of [
    ['sslmod', 'sslmode'],
    ['sslmodee', 'sslmode'],
    ['sslnode', 'sslmode'],
    ['slsmode', 'sslmode'],
    ['SSLMODE', 'sslmode'],
    ['ssl-mode', 'sslmode'],
    ['SslMod', 'sslmode'],
    ['poolsize', 'pool_size'],
    ['pool.size', 'pool_size'],
    ['pool_sizes', 'pool_size'],
    ['gsss', 'gss'],
    ['trust_server_certificate', 'TrustServerCertificate'],
    ['trustservercertificat', 'TrustServerCertificate'],
  ] as const) {
    it(`${slip} was meant to be ${meant}`, () => assert.equal(nearest(slip, words), meant))
  }
  for (const other of ['ss', 'gs', 'mode', 'slmod', 'sslxxde', 'lssmoed', 'slkmode', '', 'region']) {
    it(`${JSON.stringify(other)} is no slip`, () => assert.equal(nearest(other, words), undefined))
  }
  it('would rather have another way to write a word than another word', () => {
    assert.equal(nearest('ssl_mode', ['ssl_node', 'sslmode']), 'sslmode')
  })
  it('finds every single slip', () => {
    const letters = fc.constantFrom(...'abcdefgh')
    const word = fc.array(letters, { minLength: 4, maxLength: 12 })
    fc.assert(
      fc.property(word, fc.nat(), letters, (from, at, letter) => {
        const index = at % from.length
        const meant = from.join('')
        const slips = [from.toSpliced(index, 1), from.toSpliced(index, 0, letter), from.toSpliced(index, 1, letter)]
        if (index > 0) slips.push(from.toSpliced(index - 1, 2, from[index] ?? '', from[index - 1] ?? ''))
        for (const slip of slips) assert.equal(nearest(slip.join(''), [meant]), meant)
      }),
    )
  })
})

describe('nearNames', () => {
  it('gives the names that were probably meant, nearest first, at most three', () => {
    const tables = ['flights', 'flight_delays', 'airports', 'airport', 'fights', 'x']
    assert.deepEqual(nearNames('FLIGHTS', tables).slice(0, 2), ['flights', 'fights'])
    assert.deepEqual(nearNames('airprots', tables), ['airports'])
    assert.deepEqual(nearNames('delays', tables), ['flight_delays'])
    assert.deepEqual(nearNames('customers', tables), [])
    assert.deepEqual(nearNames('y', tables), ['x'])
    assert.equal(nearNames('a', ['b', 'c', 'd', 'e']).length, 3)
    assert.deepEqual(nearNames('x'.repeat(1_000_000), tables), [])
  })
})

describe('didYouMean', () => {
  it('suggests names at the end of a sentence, or in one of its own', () => {
    assert.equal(didYouMean([]), undefined)
    assert.equal(didYouMean(['a', 'b']), 'did you mean a or b?')
    assert.equal(didYouMeanSentence([]), '')
    assert.equal(
      didYouMeanSentence(['a'], (name) => `"${name}"`),
      ' Did you mean "a"?',
    )
  })
})
