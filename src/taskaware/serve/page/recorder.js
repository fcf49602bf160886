// The microphone as a WAV file: browsers record WebM, which few audio libraries read.

export class Recorder {
  async start() {
    if (!navigator.mediaDevices) {
      throw new Error("Browsers record on pages of https or of this machine alone.");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    } catch (error) {
      throw new Error(`The microphone cannot be used (${error.message}).`);
    }
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("/page/worklet.js");
    const source = this.context.createMediaStreamSource(this.stream);
    this.node = new AudioWorkletNode(this.context, "collector");
    this.parts = [];
    this.node.port.onmessage = (event) => this.parts.push(event.data);
    source.connect(this.node).connect(this.context.destination);
  }

  async stop() {
    this.stream.getTracks().forEach((track) => track.stop());
    this.node.disconnect();
    const rate = this.context.sampleRate;
    await this.context.close();
    const total = this.parts.reduce((sum, part) => sum + part.length, 0);
    const samples = new Float32Array(total);
    let place = 0;
    for (const part of this.parts) {
      samples.set(part, place);
      place += part.length;
    }
    return wav(samples, rate);
  }
}

/** What the browser can decode and the service perhaps cannot (m4a, webm), as WAV. */
export async function converted(blob) {
  const context = new OfflineAudioContext(1, 1, 48_000);
  let sound;
  try {
    sound = await context.decodeAudioData(await blob.arrayBuffer());
  } catch {
    throw new Error("Neither the service nor this browser can read this file as a recording.");
  }
  const mean = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const data = sound.getChannelData(channel);
    for (let i = 0; i < mean.length; i++) mean[i] += data[i] / sound.numberOfChannels;
  }
  return wav(mean, sound.sampleRate);
}

/** 16-bit PCM of one channel. */
export function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const write = (place, text) => [...text].forEach((c, i) => view.setUint8(place + i, c.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => {
    view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true);
  });
  return new Blob([view], { type: "audio/wav" });
}
