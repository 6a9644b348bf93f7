"""The common model in OpenNMT-tf's terms."""

import opennmt
import tensorflow as tf
import tensorflow_addons as tfa


def model():
    """GRU of 512 in each direction and in the decoder, Bahdanau's attention."""
    return opennmt.models.SequenceToSequence(
        source_inputter=opennmt.inputters.WordEmbedder(256, dropout=0.2),
        target_inputter=opennmt.inputters.WordEmbedder(256, dropout=0.2),
        encoder=opennmt.encoders.RNNEncoder(
            1, 512, bidirectional=True, dropout=0.2, cell_class=tf.keras.layers.GRUCell
        ),
        decoder=opennmt.decoders.AttentionalRNNDecoder(
            1,
            512,
            bridge_class=opennmt.layers.DenseBridge,
            attention_mechanism_class=tfa.seq2seq.BahdanauAttention,
            cell_class=tf.keras.layers.GRUCell,
            dropout=0.2,
        ),
    )
