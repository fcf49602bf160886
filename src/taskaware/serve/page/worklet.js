// Runs in the thread of the sound: hands every block of the microphone to the page.

class Collector extends AudioWorkletProcessor {
  process([input]) {
    if (input[0]) this.port.postMessage(input[0].slice());
    return true;
  }
}

registerProcessor("collector", Collector);
